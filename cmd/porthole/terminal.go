package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/porthole-project/porthole/internal/tty"
	"github.com/porthole-project/porthole/runtime"
)

// isTerminal reports whether the stream is a file that is a terminal.
func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && tty.Is(f)
}

// useTerminal passes the size of the user's terminal on, and puts it into raw
// mode once the session begins; until then ctrl-c interrupts. The returned
// function restores it, however the session ends.
func useTerminal(ctx context.Context, n *node, streams *runtime.Streams) (restore func()) {
	f := n.in.(*os.File)
	sizes := make(chan runtime.Size, 1)
	go func() {
		defer close(sizes)
		for size := range tty.Resizes(ctx, f) {
			select {
			case sizes <- runtime.Size{Width: size.Width, Height: size.Height}:
			case <-ctx.Done():
				return
			}
		}
	}()
	streams.Resizes = sizes
	var back func() error
	streams.Begin = func() (err error) {
		if back, err = tty.Raw(f); err != nil {
			return fmt.Errorf("terminal: %w", err)
		}
		n.console.setRaw(true)
		return nil
	}
	return func() {
		if back == nil {
			return
		}
		err := back()
		n.console.setRaw(false)
		if ctx.Err() != nil {
			n.console.line("") // what was cut off did not end its line
		}
		if err != nil {
			n.console.line("porthole: the terminal could not be restored (" + err.Error() + "); 'reset' or 'stty sane' will do it")
		}
	}
}

// brokenOutput is the cause of a session's end when its output cannot be
// written: as if SIGPIPE had ended it, where that is what happened.
func brokenOutput(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return signalled{syscall.SIGPIPE}
	}
	return fmt.Errorf("write output: %w", err)
}
