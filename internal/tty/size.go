package tty

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Size is that of a terminal, in characters.
type Size struct {
	Width, Height uint16
}

// SizeOf asks the terminal f for its size. A terminal that does not know, such
// as a serial line, answers with the zero Size.
func SizeOf(f *os.File) (Size, error) {
	var size Size
	err := control(f, func(fd int) error {
		width, height, err := term.GetSize(fd)
		size = Size{uint16(width), uint16(height)} // the kernel's own width
		return err
	})
	if err != nil {
		return Size{}, fmt.Errorf("terminal %s: get its size: %w", nameOf(f), err)
	}
	return size, nil
}

// Resizes returns the size of the terminal f: at once, and again after every
// SIGWINCH until ctx is done, when the channel is closed. A reader that lags
// gets the latest size only and holds up nothing. A size that is unknown or
// cannot be read is left out, the first one too.
func Resizes(ctx context.Context, f *os.File) <-chan Size {
	sizes := make(chan Size, 1)
	send := func() {
		size, err := SizeOf(f)
		if err != nil || size == (Size{}) {
			return
		}
		select { // there is one sender: once emptied, there is room
		case <-sizes:
		default:
		}
		sizes <- size
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH) // before the first size, so that no change is missed
	send()
	go func() {
		defer close(sizes)
		defer signal.Stop(changed)
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				send()
			}
		}
	}()
	return sizes
}
