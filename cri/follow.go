package cri

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/porthole-project/porthole/internal/watch"
)

// follower reads a CRI log from its first byte on, through rotation by anybody
// (the file is renamed and the runtime opens a new one), to its end. It watches
// the directory from before the container exists, so the order of the files is
// known from the events and not guessed from names.
type follower struct {
	dir, base string
	watch     *watch.Watcher

	mu      sync.Mutex
	chain   []*generation // files not yet read to their end, oldest first
	newest  os.FileInfo   // of the file added last, read or not
	ending  bool          // the container has ended: the last file that closes is the last
	cuts    int
	started bool          // there was a file
	running bool          // run will close the files
	change  chan struct{} // closed and renewed at each change of the above
	closed  chan struct{}
	once    sync.Once
}

// generation is one log file in the order of creation.
type generation struct {
	name   string // its present name in the directory
	file   *os.File
	err    error  // why it could not be opened
	closes uint64 // how often a writer has closed it
	seen   uint64 // counts events, so that a reader knows whether to look again
	size   int64  // when polled last
	quiet  int    // for how many polls it has not grown
}

func follow(path string) (*follower, error) {
	f := &follower{dir: filepath.Dir(path), base: filepath.Base(path), change: make(chan struct{}), closed: make(chan struct{})}
	var err error
	f.watch, err = watch.Dir(f.dir)
	switch {
	case err == nil:
		go f.listen()
	case errdefs.IsResourceExhausted(err):
		// A busy node may have no inotify instance left, which is no reason not to be
		// opened.
		go f.poll()
	default:
		return nil, fmt.Errorf("follow log %s: %w", path, err)
	}
	return f, nil
}

// Close ends the following; a run in progress returns soon.
func (f *follower) Close() error {
	f.once.Do(func() { close(f.closed) })
	var err error
	if f.watch != nil {
		err = f.watch.Close()
	}
	f.mu.Lock()
	running := f.running
	f.mu.Unlock()
	if !running {
		f.release()
	}
	return err
}

// release closes the files that were never read.
func (f *follower) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.chain {
		if g.file != nil {
			_ = g.file.Close()
		}
	}
	f.chain = nil
}

// listen turns the directory's events into the chain of generations.
func (f *follower) listen() {
	var from string // the name that a rename took away, until its other half comes
	for e := range f.watch.Events() {
		f.mu.Lock()
		switch {
		case e.Op.Has(watch.Overflow):
			f.rescan()
		case e.Op.Has(watch.Create) && e.Name == f.base:
			f.created()
		case e.Op.Has(watch.MovedFrom):
			from = e.Name
		case e.Op.Has(watch.MovedTo):
			if g := f.named(from); g != nil {
				g.name = e.Name
			} else if e.Name == f.base {
				f.created() // CRI-O's conmon makes a new log under another name first
			}
			from = ""
		}
		if g := f.named(e.Name); g != nil {
			g.seen++
			if e.Op.Has(watch.CloseWrite) {
				g.closes++
			}
		}
		f.signal()
		f.mu.Unlock()
	}
}

// rescan makes up for lost events: the file being read stays, and whatever has
// the log's name now comes next.
func (f *follower) rescan() {
	for _, g := range f.chain {
		g.seen++
	}
	f.catchUp()
}

// created answers the event of a file that got the log's name, unless it is
// known already: catchUp was there first, or a cut was taken back.
func (f *follower) created() {
	if !f.isNewest() {
		f.add()
	} else if n := len(f.chain); n > 0 {
		f.chain[n-1].name = f.base // whatever name an event before this one gave it
	}
}

// catchUp adds the log that no event has told of: at the end, since a command may
// be over, and its log closed, before an event was looked at; when events were
// lost; and where there are none.
func (f *follower) catchUp() {
	if _, err := os.Stat(filepath.Join(f.dir, f.base)); err == nil && !f.isNewest() {
		f.add()
	}
}

// isNewest reports whether what has the log's name is the file added last.
func (f *follower) isNewest() bool {
	info, err := os.Stat(filepath.Join(f.dir, f.base))
	return err == nil && f.newest != nil && os.SameFile(info, f.newest)
}

// add opens the log while it still has its name.
func (f *follower) add() {
	g := &generation{name: f.base}
	if g.file, g.err = os.Open(filepath.Join(f.dir, f.base)); g.err == nil {
		f.newest, g.err = g.file.Stat()
	}
	f.chain = append(f.chain, g)
	f.started = true
}

func (f *follower) named(name string) *generation {
	for i := len(f.chain) - 1; i >= 0; i-- {
		if f.chain[i].name == name {
			return f.chain[i]
		}
	}
	return nil
}

func (f *follower) signal() {
	close(f.change)
	f.change = make(chan struct{})
}

// Started reports whether the runtime has opened the log. It did so before the
// container was started, but the news of it may need a moment.
func (f *follower) Started(ctx context.Context, patience time.Duration) bool {
	late := time.After(patience)
	for {
		f.mu.Lock()
		started, change := f.started, f.change
		f.mu.Unlock()
		if started {
			return true
		}
		select {
		case <-change:
		case <-late:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// Cut renames the log so that the runtime, asked to reopen it, finishes this
// file. It returns the new name; uncut takes it back when the runtime would
// not. A log that this follower has not opened yet, because somebody else has
// just rotated it, is not cut: under its new name it could be taken for another.
func (f *follower) Cut(now time.Time) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.chain); n == 0 || f.chain[n-1].name != f.base || !f.isNewest() {
		return "", fmt.Errorf("log %s: not open: %w", f.base, errdefs.ErrUnavailable)
	}
	f.cuts++
	// Kubelet's names for rotated logs sort by time, and so does this one.
	name := fmt.Sprintf("%s.%s.%d", f.base, now.Format("20060102-150405"), f.cuts)
	if err := os.Rename(filepath.Join(f.dir, f.base), filepath.Join(f.dir, name)); err != nil {
		return "", err
	}
	f.chain[len(f.chain)-1].name = name
	return name, nil
}

func (f *follower) uncut(name string) {
	path := filepath.Join(f.dir, f.base)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		_ = os.Rename(filepath.Join(f.dir, name), path)
	}
}

// End says that the container has ended: run returns once the last file is
// closed and read, or at the latest after patience.
func (f *follower) End(patience time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ending = true
	f.signal()
	time.AfterFunc(patience, func() { _ = f.Close() })
}

// logSink takes what the follower reads.
type logSink interface {
	record(r record)
	// finished says that the file which now has this name was read to its end
	// after its writer closed it.
	finished(name string)
	// abandoned says that the writer has closed the newest file, which was read
	// to its end: the runtime or the container is gone.
	abandoned()
}

// run delivers every record to sink, in order, until the log's end or Close.
func (f *follower) run(sink logSink) error {
	f.mu.Lock()
	f.running = true
	f.mu.Unlock()
	defer f.release()
	for {
		g := f.next()
		if g == nil {
			return nil
		}
		if err := f.read(g, sink); err != nil {
			return err
		}
	}
}

// next waits for the oldest unread generation; nil is the end.
func (f *follower) next() *generation {
	for {
		f.mu.Lock()
		if len(f.chain) == 0 && f.ending {
			f.catchUp()
		}
		var g *generation
		if len(f.chain) > 0 {
			g = f.chain[0]
		}
		ending, change := f.ending, f.change
		f.mu.Unlock()
		if g != nil || ending {
			return g
		}
		select {
		case <-change:
		case <-f.closed:
			return nil
		}
	}
}

// read delivers one generation to its end and drops it from the chain.
func (f *follower) read(g *generation, sink logSink) error {
	defer f.drop(g)
	if g.err != nil {
		return fmt.Errorf("read log: %w", g.err)
	}
	file := g.file
	lines, told := &lineBuffer{}, uint64(0)
	for {
		f.mu.Lock()
		seen, closes, last, ending, change := g.seen, g.closes, len(f.chain) == 1, f.ending, f.change
		name := g.name
		f.mu.Unlock()
		if err := lines.drain(file, sink); err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		f.mu.Lock()
		again := g.seen != seen
		f.mu.Unlock()
		switch {
		case again:
			continue
		case closes > 0 && (!last || ending):
			sink.finished(name)
			return nil
		case closes != told:
			told = closes
			// One that was renamed is closed because another follows it, if not at once:
			// CRI-O closes the old log before it opens the new one.
			if name == f.base {
				sink.abandoned()
			}
		}
		select {
		case <-change:
		case <-f.closed:
			// Give up waiting, but not what is there.
			return lines.drain(file, sink)
		}
	}
}

func (f *follower) drop(g *generation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chain = slices.DeleteFunc(f.chain, func(other *generation) bool { return other == g })
	if g.file != nil {
		_ = g.file.Close()
	}
}
