package tty_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/porthole-project/porthole/internal/tty"
)

// resize gives the terminal a size and this process the signal, which the
// kernel sends only to those whose controlling terminal it is.
func resize(t *testing.T, master *os.File, size tty.Size) {
	t.Helper()
	if err := pty.Setsize(master, &pty.Winsize{Cols: size.Width, Rows: size.Height}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil {
		t.Fatal(err)
	}
}

// await reads until want comes: an earlier signal may have brought others.
func await(t *testing.T, sizes <-chan tty.Size, want tty.Size) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case got, ok := <-sizes:
			if !ok {
				t.Fatalf("channel closed, want %v", want)
			}
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("%v never came", want)
		}
	}
}

func TestSizeOf(t *testing.T) {
	master, slave := openPTY(t)
	for _, want := range []tty.Size{{}, {80, 24}, {65535, 1}} {
		resize(t, master, want)
		if got, err := tty.SizeOf(slave); got != want || err != nil {
			t.Errorf("SizeOf = %v, %v; want %v", got, err, want)
		}
	}
	slave.Close()
	if got, err := tty.SizeOf(slave); err == nil {
		t.Errorf("SizeOf a closed file = %v", got)
	}
}

func TestResizes(t *testing.T) {
	master, slave := openPTY(t)
	resize(t, master, tty.Size{Width: 80, Height: 24})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sizes := tty.Resizes(ctx, slave)
	if len(sizes) != 1 {
		t.Errorf("%d sizes to begin with, want 1", len(sizes))
	}
	await(t, sizes, tty.Size{Width: 80, Height: 24})

	for width := uint16(100); width < 200; width++ { // nobody reads
		resize(t, master, tty.Size{Width: width, Height: 50})
	}
	await(t, sizes, tty.Size{Width: 199, Height: 50})

	resize(t, master, tty.Size{}) // unknown: not news
	resize(t, master, tty.Size{Width: 1, Height: 2})
	await(t, sizes, tty.Size{Width: 1, Height: 2})

	cancel()
	for size := range sizes {
		if size == (tty.Size{}) {
			t.Error("an unknown size was sent")
		}
	}
}

// TestResizesOfNothing has no terminal: the channel stays silent and closes.
func TestResizesOfNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	sizes := tty.Resizes(ctx, nil)
	cancel()
	if size, ok := <-sizes; ok {
		t.Errorf("size %v of no terminal", size)
	}
}
