package cri

import (
	"fmt"
	"io"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/porthole-project/porthole/cri/critest"
	"github.com/porthole-project/porthole/runtime"
)

func TestStreamOutput(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, _ *Client) {
		r := launch(t, s, nil)
		r.say("stdout", "before anybody was attached\n")
		r.say("stderr", "warning: ")
		r.carry(t, runtime.Streams{})
		r.attachment(t)
		for i := range 500 {
			r.say("stdout", fmt.Sprintf("line %d\n", i))
			if i%7 == 0 {
				r.say("stderr", fmt.Sprintf("%d, ", i))
			}
		}
		r.say("stdout", "no newline at the end")
		r.c.Exit(3)
		r.end(t, 3)
		if r.exit.Reason != "Error" || r.exit.Finished.IsZero() || len(r.told()) > 0 {
			t.Errorf("%+v, notices %q", r.exit, r.told())
		}
	})
}

// A quick command has ended before anybody could attach: its output is in the
// log.
func TestStreamOfWhatHasEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, _ *Client) {
		r := launch(t, s, nil)
		r.say("stdout", "hello\n")
		r.say("stderr", "bye")
		r.c.Exit(0)
		r.carry(t, runtime.Streams{})
		r.end(t, 0)
	})
}

func TestStreamInput(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, _ *Client) {
		input := strings.Repeat("0123456789abcdef\n", 10000)
		r := stream(t, s, runtime.Streams{Stdin: strings.NewReader(input)}, func(c *corev1.EphemeralContainer) { c.Stdin, c.StdinOnce = true, true })
		got, err := io.ReadAll(r.attachment(t).Stdin) // to its EOF
		if err != nil || string(got) != input {
			t.Errorf("%d bytes of input, want %d, %v", len(got), len(input), err)
		}
		r.say("stdout", fmt.Sprintf("%d\n", len(got)))
		r.c.Exit(0)
		r.end(t, 0)
	})
}

// On a tty the end of input is typed, for a terminal has no EOF.
func TestStreamInputOfATerminal(t *testing.T) {
	for input, want := range map[string]string{"ls\n": "ls\n\x04", "": "\x04", "half a line": "half a line\x04\x04"} {
		s := serve(t, "containerd-2.4.2")
		r := stream(t, s, runtime.Streams{Stdin: strings.NewReader(input)}, func(c *corev1.EphemeralContainer) { c.Stdin, c.TTY = true, true })
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r.attachment(t).Stdin, got); err != nil || string(got) != want {
			t.Errorf("%q: typed %q, %v; want %q", input, got, err, want)
		}
		r.say("stdout", "$ ls\r\nfile\r\n")
		r.c.Exit(0)
		r.end(t, 0)
	}
}

// Input that was not asked for is not read.
func TestStreamWithoutInput(t *testing.T) {
	s := serve(t, "crio-1.37")
	stdin := strings.NewReader("not for the container")
	r := stream(t, s, runtime.Streams{Stdin: stdin}, nil)
	if got, err := io.ReadAll(r.attachment(t).Stdin); err != nil || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
	r.c.Exit(0)
	r.end(t, 0)
	if stdin.Len() != len("not for the container") {
		t.Error("it was read")
	}
}

func TestStreamResize(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, _ *Client) {
		sizes := make(chan runtime.Size)
		r := stream(t, s, runtime.Streams{Stdin: strings.NewReader(""), Resizes: sizes}, func(c *corev1.EphemeralContainer) { c.Stdin, c.TTY = true, true })
		a := r.attachment(t)
		for _, want := range []runtime.Size{{Width: 80, Height: 24}, {Width: 132, Height: 50}} {
			sizes <- want
			if got := <-a.Resize; got != (critest.TerminalSize{Width: want.Width, Height: want.Height}) {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
		// Another attachment is told the latest size at once.
		a.Cut()
		if got := <-r.attachment(t).Resize; got != (critest.TerminalSize{Width: 132, Height: 50}) {
			t.Errorf("after a new attach: %+v", got)
		}
		r.say("stdout", "\x1b[2Jok\r\n")
		r.c.Exit(0)
		r.end(t, 0)
		close(sizes)
	})
}
