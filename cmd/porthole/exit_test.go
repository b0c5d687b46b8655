package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/containerd/errdefs"

	"github.com/porthole-project/porthole/internal/agent"
	"github.com/porthole-project/porthole/runtime"
)

func TestExitCode(t *testing.T) {
	wrapped := func(err error) error { return fmt.Errorf("create container: %w", err) }
	for _, c := range []struct {
		what   string
		err    error
		code   int
		silent bool
	}{
		{"nothing", nil, 0, true},
		{"the command's own", commandStatus(3), 3, true},
		{"the command's own, the same as one of ours", commandStatus(125), 125, true},
		{"time is up", agent.ErrExpired, 124, false},
		{"time is up, and more", errors.Join(agent.ErrExpired, errors.New("clean up")), 124, false},
		{"bad usage", usageErrorf("no pod"), 125, false},
		{"no such pod", wrapped(errdefs.ErrNotFound), 125, false},
		{"anything", errors.New("anything"), 125, false},
		{"not executable", wrapped(runtime.ErrNotExecutable), 126, false},
		{"command not found", wrapped(runtime.ErrCommandNotFound), 127, false},
		{"hung up", signalled{syscall.SIGHUP}, 129, false},
		{"ctrl-c", signalled{syscall.SIGINT}, 130, false},
		{"ctrl-c while cleaning up failed", fmt.Errorf("%w: %w", signalled{syscall.SIGINT}, errdefs.ErrUnavailable), 130, false},
		{"output nobody reads", signalled{syscall.SIGPIPE}, 141, true},
		{"told to end", signalled{syscall.SIGTERM}, 143, false},
	} {
		var out bytes.Buffer
		if got := report(newConsole(&out), c.err); got != c.code || exitCode(c.err) != c.code {
			t.Errorf("%s: %d, want %d", c.what, got, c.code)
		}
		if (out.Len() == 0) != c.silent || !c.silent && !strings.HasPrefix(out.String(), "porthole: ") {
			t.Errorf("%s: said %q", c.what, out.String())
		}
	}
}

// A signal is the reason for whatever went wrong after it, but not for an exit
// code that the command gave.
func TestBecause(t *testing.T) {
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(signalled{syscall.SIGTERM})
	for _, c := range []struct {
		what string
		ctx  context.Context
		err  error
		code int
	}{
		{"nothing went wrong", ended, nil, 0},
		{"the command's own code", ended, commandStatus(3), 3},
		{"an error of the signal", ended, errors.New("cut short"), 143},
		{"the cancelling itself", ended, context.Canceled, 143},
		{"told already", ended, signalled{syscall.SIGINT}, 130},
		{"no signal", t.Context(), errors.New("own"), 125},
	} {
		if got := exitCode(because(c.ctx, c.err)); got != c.code {
			t.Errorf("%s: %d, want %d", c.what, got, c.code)
		}
	}
}

// Whoever names a pod, or makes a runtime fail, does not command the terminal.
func TestConsoleEscapes(t *testing.T) {
	const hostile = "pod \x1b[2J\x1b]0;title\x07 \r\u009b31m \u202ereversed \x00\x7f\xff"
	for _, raw := range []bool{false, true} {
		var out bytes.Buffer
		c := newConsole(&out)
		c.setRaw(raw)
		c.line(hostile + "\nsecond line")
		_, _ = fmt.Fprint(c, hostile) // what cli/v2 writes
		want := 3
		text := out.String()
		if raw {
			if n := strings.Count(text, "\r\n"); n != want {
				t.Errorf("raw: %d lines with a carriage return, want %d", n, want)
			}
			text = strings.ReplaceAll(text, "\r\n", "\n")
		}
		checkHarmless(t, "console", text)
		if strings.Count(text, "\n") != want || !strings.Contains(text, `\x1b[2J`) || !strings.Contains(text, `\u202e`) {
			t.Errorf("raw %v: %q", raw, text)
		}
	}
}

// checkHarmless allows a text newlines and tabs, and nothing else that a terminal
// would obey or not show.
func checkHarmless(t *testing.T, what, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s: not UTF-8: %q", what, text)
	}
	for i, r := range text {
		bidi := r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2060 && r <= 0x2069
		if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f || bidi {
			t.Errorf("%s: %U at byte %d of %q", what, r, i, text)
			return
		}
	}
}
