package cri

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writer is a runtime writing a container's log.
type writer struct {
	t    *testing.T
	path string
	file *os.File
}

func newWriter(t *testing.T, path string) *writer {
	t.Helper()
	w := &writer{t: t, path: path}
	w.open()
	return w
}

// open is what a runtime does at the start of a container, to reopen its log,
// and after its own restart.
func (w *writer) open() {
	w.t.Helper()
	var err error
	if w.file, err = os.OpenFile(w.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *writer) close() { _ = w.file.Close() }

func (w *writer) line(format string, args ...any) {
	w.t.Helper()
	w.raw(record{full: true, content: fmt.Appendf(nil, format, args...)}.String())
}

func (w *writer) raw(text string) {
	w.t.Helper()
	if _, err := w.file.WriteString(text); err != nil {
		w.t.Fatal(err)
	}
}

// rotate is kubelet's: rename, then the runtime reopens. Kubelet's rotations
// come ten seconds apart, so an event of one is not in the queue at the next.
func (w *writer) rotate(name string) {
	w.t.Helper()
	if err := os.Rename(w.path, filepath.Join(filepath.Dir(w.path), name)); err != nil {
		w.t.Fatal(err)
	}
	w.close()
	w.open()
}

// following follows a log that is yet to be made. result waits for the end.
type following struct {
	*follower
	got  collector
	done chan error
}

func startFollowing(t *testing.T) (*following, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "0.log")
	f, err := follow(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	g := &following{follower: f, done: make(chan error, 1)}
	return g, path
}

func (g *following) start() { go func() { g.done <- g.run(&g.got) }() }

func (g *following) result(t *testing.T) string {
	t.Helper()
	select {
	case err := <-g.done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the follower does not come to its end")
	}
	return g.got.text()
}

// seen waits until the follower has opened the file that has the log's name.
func (g *following) seen(t *testing.T) {
	t.Helper()
	eventually(t, "the file was seen", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.chain) > 0 && g.chain[len(g.chain)-1].name == g.base && g.isNewest()
	})
}

// eventually waits for what another goroutine is about to do.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 1000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func TestFollow(t *testing.T) {
	g, path := startFollowing(t)
	g.start()
	w := newWriter(t, path)
	w.line("one")
	w.line("two")
	w.close()
	g.End(5 * time.Second)
	if got := g.result(t); got != "one\ntwo\n" || g.got.lost > 1 {
		t.Errorf("%q, abandoned %d times", got, g.got.lost)
	}
	if len(g.got.finishes) != 1 || g.got.finishes[0] != "0.log" {
		t.Errorf("finished %q", g.got.finishes)
	}
}

// All was over before anybody began to read: nothing depends on being quick.
func TestFollowFromTheFirstByte(t *testing.T) {
	g, path := startFollowing(t)
	w := newWriter(t, path)
	w.line("one")
	g.seen(t)
	w.rotate("0.log.1")
	g.seen(t)
	w.line("two")
	w.close()
	g.start()
	g.End(5 * time.Second)
	if got := g.result(t); got != "one\ntwo\n" {
		t.Errorf("%q", got)
	}
}

func TestFollowThroughRotations(t *testing.T) {
	g, path := startFollowing(t)
	g.start()
	w := newWriter(t, path)
	var want strings.Builder
	for i := range 20 {
		for j := range 50 {
			w.line("%d.%d", i, j)
			fmt.Fprintf(&want, "%d.%d\n", i, j)
		}
		g.seen(t)
		w.rotate(fmt.Sprintf("0.log.%02d", i))
	}
	w.line("end")
	w.close()
	g.End(5 * time.Second)
	if got := g.result(t); got != want.String()+"end\n" {
		t.Errorf("%d lines, want %d, or others", strings.Count(got, "\n"), strings.Count(want.String(), "\n")+1)
	}
	if len(g.got.finishes) != 21 {
		t.Errorf("finished %q", g.got.finishes)
	}
}

// A line may be cut in two by a rotation's partial entry, or written to the old
// file after it was renamed.
func TestFollowWritesAfterTheRename(t *testing.T) {
	g, path := startFollowing(t)
	g.start()
	w := newWriter(t, path)
	w.line("one")
	g.seen(t)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	w.line("two")
	time.Sleep(20 * time.Millisecond)
	w.raw(record{content: []byte("th")}.String())
	w.close()
	w.open()
	w.line("ree")
	w.close()
	g.End(5 * time.Second)
	if got := g.result(t); got != "one\ntwo\nthree\n" {
		t.Errorf("%q", got)
	}
}

// The runtime dies and another goes on in the same file: that is not the end.
func TestFollowAWriterThatDies(t *testing.T) {
	g, path := startFollowing(t)
	g.start()
	w := newWriter(t, path)
	w.line("one")
	w.close()
	time.Sleep(50 * time.Millisecond)
	select {
	case err := <-g.done:
		t.Fatalf("took the death of the writer for the end: %v", err)
	default:
	}
	w.open()
	w.line("two")
	w.close()
	g.End(5 * time.Second)
	if got := g.result(t); got != "one\ntwo\n" {
		t.Errorf("%q", got)
	}
	if g.got.lost == 0 {
		t.Error("nobody was told that the writer is gone")
	}
}

func TestFollowAnUnfinishedEntry(t *testing.T) {
	g, path := startFollowing(t)
	g.start()
	w := newWriter(t, path)
	w.line("one")
	w.raw("2026-01-02T15:04:05Z stdout F torn") // the disk was full
	w.close()
	g.End(5 * time.Second)
	if got := g.result(t); got != "one\n" {
		t.Errorf("%q", got)
	}
}

// A writer that never closes does not hold the end up for longer than told.
func TestFollowHasPatience(t *testing.T) {
	g, path := startFollowing(t)
	g.start()
	w := newWriter(t, path)
	defer w.close()
	w.line("one")
	g.seen(t)
	began := time.Now()
	g.End(200 * time.Millisecond)
	if got := g.result(t); got != "one\n" {
		t.Errorf("%q", got)
	}
	if took := time.Since(began); took < 150*time.Millisecond || took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestFollowALogThatNeverComes(t *testing.T) {
	g, _ := startFollowing(t)
	g.start()
	g.End(5 * time.Second)
	if got := g.result(t); got != "" || g.Started(t.Context(), time.Second) {
		t.Errorf("%q, started %v", got, g.Started(t.Context(), time.Second))
	}
}

func TestFollowClose(t *testing.T) {
	for _, c := range []struct {
		what    string
		running bool
	}{{"while it runs", true}, {"before anybody read", false}} {
		g, path := startFollowing(t)
		w := newWriter(t, path)
		w.line("one")
		g.seen(t)
		if g.mu.Lock(); g.chain[0].err != nil {
			t.Fatal(g.chain[0].err)
		}
		file := g.chain[0].file
		g.mu.Unlock()
		if c.running {
			g.start()
		}
		time.Sleep(20 * time.Millisecond)
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if c.running {
			if got := g.result(t); got != "one\n" {
				t.Errorf("%s: %q; what is there is still read", c.what, got)
			}
		}
		eventually(t, "the file was closed", func() bool { _, err := file.Stat(); return err != nil })
		_ = g.Close() // the second time does no harm
		w.close()
	}
}

func TestFollowNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "0.log")
	if _, err := follow(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}
