package registry

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"github.com/containerd/errdefs"
)

// fileLimit is far more than any configuration; kubelet has no limit for
// files, and 10 MB for what it is sent.
const fileLimit = 1 << 20

// readFile reads a regular file. Errors name it and carry a class, but never
// say what is in it.
func readFile(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return nil, nil, classed(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, classed(err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s: not a regular file: %w", path, errdefs.ErrInvalidArgument)
	}
	text, err := io.ReadAll(io.LimitReader(f, fileLimit+1))
	if err != nil {
		return nil, nil, classed(err)
	}
	if len(text) > fileLimit {
		return nil, nil, fmt.Errorf("%s: more than %d bytes: %w", path, fileLimit, errdefs.ErrInvalidArgument)
	}
	return text, info, nil
}

// classed gives an error of the file system, which names the file, a class.
func classed(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", err, errdefs.ErrNotFound)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", err, errdefs.ErrPermissionDenied)
	}
	return fmt.Errorf("%w: %w", err, errdefs.ErrFailedPrecondition)
}

// trusted reports whether nobody but root, or the caller where that is not
// root, can have written a file or directory: one that is to be run, or that
// says what is to be run.
func trusted(path string, info fs.FileInfo) error {
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	if !slices.Contains([]int{0, os.Geteuid()}, owner) {
		return fmt.Errorf("%s belongs to user %d, so it is not run or followed: %w", path, owner, errdefs.ErrPermissionDenied)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%s can be written by others than its owner (mode %#o), so it is not run or followed: %w", path, mode, errdefs.ErrPermissionDenied)
	}
	return nil
}
