package cri

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// collected is a sink that keeps what it is given.
type collected struct {
	text strings.Builder
	done []string
}

func (c *collected) record(r record)      { c.text.Write(r.content); c.text.WriteByte('\n') }
func (c *collected) finished(name string) { c.done = append(c.done, name) }
func (c *collected) abandoned()           {}

// A node without a free inotify instance: the log is polled, and is complete
// all the same, over a cut too.
func TestPolledFollower(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "0.log")
	f := &follower{dir: dir, base: "0.log", change: make(chan struct{}), closed: make(chan struct{})}
	go f.poll()
	var got collected
	ended := make(chan error, 1)
	go func() { ended <- f.run(&got) }()

	var want strings.Builder
	write := func(n int) {
		t.Helper()
		file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		fmt.Fprintf(file, "2026-01-02T15:04:05.1Z stdout F line %d\n", n)
		fmt.Fprintf(&want, "line %d\n", n)
	}
	for n := range 3 {
		write(3 * n)
		write(3*n + 1)
		time.Sleep(3 * pollEvery)
		name, err := f.Cut(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		write(3*n + 2)
		time.Sleep((pollsFollowed + 4) * pollEvery)
		f.mu.Lock()
		open := len(f.chain)
		f.mu.Unlock()
		if open != 1 {
			t.Errorf("%d files are open after the cut to %s, want 1", open, name)
		}
	}
	f.End(time.Minute)
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the end of the log was not found")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got.text.String() != want.String() {
		t.Errorf("got %q, want %q", got.text.String(), want.String())
	}
	if len(got.done) != 4 {
		t.Errorf("finished %v, want three cuts and the end", got.done)
	}
}
