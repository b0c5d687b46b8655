package cri

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

// Somebody else has rotated the log and the event is still to come: what has
// its name is not the file that would be cut.
func TestFollowCutsOnlyWhatItReads(t *testing.T) {
	g, path := startFollowing(t)
	w := newWriter(t, path)
	g.seen(t)
	g.mu.Lock() // the events wait
	w.rotate("0.log.1")
	n := len(g.chain)
	newest := g.isNewest()
	g.mu.Unlock()
	if n != 1 || newest {
		t.Fatalf("%d files known, the newest is %v", n, newest)
	}
	w.line("two")
	g.start()
	g.seen(t)
	w.close()
	g.End(5 * time.Second)
	if got := g.result(t); got != "two\n" {
		t.Errorf("%q", got)
	}
}

// The events of the last rotation have not been looked at when the end comes.
func TestFollowEndsBehindItsEvents(t *testing.T) {
	for range 20 {
		g, path := startFollowing(t)
		w := newWriter(t, path)
		w.line("one")
		g.seen(t)
		g.start()
		g.mu.Lock() // the events wait
		w.rotate("0.log.1")
		w.line("two")
		w.close()
		g.ending = true
		g.mu.Unlock()
		g.End(5 * time.Second)
		if got := g.result(t); got != "one\ntwo\n" {
			t.Fatalf("%q", got)
		}
	}
}

func TestFollowCut(t *testing.T) {
	g, path := startFollowing(t)
	g.start()
	if name, err := g.Cut(time.Now()); !errdefs.IsUnavailable(err) {
		t.Errorf("cut a log that is not there: %q, %v", name, err)
	}
	w := newWriter(t, path)
	w.line("one")
	g.seen(t)
	first, err := g.Cut(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	if err != nil || first != "0.log.20260102-030405.1" {
		t.Fatalf("%q, %v", first, err)
	}
	if _, err := g.Cut(time.Now()); !errdefs.IsUnavailable(err) {
		t.Errorf("cut it twice: %v", err)
	}
	// The runtime would not reopen: it is taken back, and written on.
	g.uncut(first)
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	w.line("two")
	g.seen(t) // it has its name again
	second, err := g.Cut(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w.close()
	w.open()
	w.line("three")
	// With the log reopened there is nothing to take back.
	g.uncut(second)
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), second)); err != nil {
		t.Errorf("a file that was cut off came back: %v", err)
	}
	w.close()
	g.End(5 * time.Second)
	if got := g.result(t); got != "one\ntwo\nthree\n" {
		t.Errorf("%q", got)
	}
	if len(g.got.finishes) != 2 || g.got.finishes[0] != second {
		t.Errorf("finished %q, want %q and 0.log", g.got.finishes, second)
	}
}

// CRI-O's conmon closes the old file, makes the new one as 0.log.tmp, and gives
// it its name last. The close in between is not the death of the writer.
func TestFollowTheRotationOfConmon(t *testing.T) {
	g, path := startFollowing(t)
	g.start()
	w := newWriter(t, path)
	for i := range 5 {
		w.line("%d", i)
		g.seen(t)
		name, err := g.Cut(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		w.line("%d, after the cut to %s", i, name)
		w.close()
		time.Sleep(10 * time.Millisecond)
		w.path += ".tmp"
		w.open()
		w.path = path
		if err := os.Rename(path+".tmp", path); err != nil {
			t.Fatal(err)
		}
	}
	w.line("end")
	w.close()
	g.End(5 * time.Second)
	if got := g.result(t); strings.Count(got, "\n") != 11 || !strings.HasSuffix(got, "\nend\n") {
		t.Errorf("%q", got)
	}
	if len(g.got.finishes) != 6 || g.got.lost > 1 {
		t.Errorf("finished %q, abandoned %d times", g.got.finishes, g.got.lost)
	}
}
