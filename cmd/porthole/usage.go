package main

import (
	"fmt"

	"github.com/containerd/errdefs"
)

// usageErrorf is an error in how the program was called.
func usageErrorf(format string, args ...any) error {
	return usageError(fmt.Errorf(format, args...))
}

func usageError(err error) error {
	if err == nil || errdefs.IsInvalidArgument(err) {
		return err
	}
	return &badUsage{err}
}

// badUsage gives cli/v2's own errors a class without adding to their text.
type badUsage struct{ err error }

func (b *badUsage) Error() string   { return b.err.Error() }
func (b *badUsage) Unwrap() []error { return []error{b.err, errdefs.ErrInvalidArgument} }
