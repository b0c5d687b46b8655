package tty

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/term"
)

// ReadSecret reads one line from the terminal f without showing it. When ctx
// ends first, the terminal shows again what is typed and the cause of ctx is
// returned; the reading itself then ends with the next line or the process.
func ReadSecret(ctx context.Context, f *os.File) (string, error) {
	var state *term.State
	err := control(f, func(fd int) (err error) {
		state, err = term.GetState(fd)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("terminal %s: %w", nameOf(f), err)
	}
	type answer struct {
		line []byte
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(int(f.Fd()))
		read <- answer{line, err}
	}()
	select {
	case a := <-read:
		if a.err != nil {
			return "", fmt.Errorf("terminal %s: %w", nameOf(f), a.err)
		}
		return string(a.line), nil
	case <-ctx.Done():
		_ = control(f, func(fd int) error {
			return fromBackground(func() error { return term.Restore(fd, state) })
		})
		return "", context.Cause(ctx)
	}
}
