package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// bufferSize holds at least 15 events with names of the longest kind (255
// bytes), usually some hundreds.
const bufferSize = 4096

// Watcher reports what happens in one directory until it is closed or the
// directory is gone. It owns one inotify instance and two goroutines.
type Watcher struct {
	path   string
	file   *os.File
	queue  *queue
	events chan Event
	closed chan struct{}
	once   sync.Once
	work   sync.WaitGroup

	mu  sync.Mutex
	err error
}

// Dir watches the directory at path. Everything that happens after it returns
// is reported; the caller closes the watcher.
//
// A missing directory is [errdefs.ErrNotFound], a file
// [errdefs.ErrInvalidArgument], and a node whose limit on inotify instances or
// watches is used up [errdefs.ErrResourceExhausted]: each watcher takes one of
// fs.inotify.max_user_instances (128 by default).
func Dir(path string) (*Watcher, error) {
	w, err := open(path)
	if err != nil {
		return nil, err
	}
	w.start()
	return w, nil
}

func open(path string) (*Watcher, error) {
	// Non-blocking, so that the runtime's poller waits for it and Close ends a
	// pending read.
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, explain(err, "fs.inotify.max_user_instances"))
	}
	if _, err := unix.InotifyAddWatch(fd, path, mask); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("watch %s: %w", path, explain(err, "fs.inotify.max_user_watches"))
	}
	return &Watcher{
		path:   path,
		file:   os.NewFile(uintptr(fd), "inotify"),
		queue:  newQueue(queueLimit),
		events: make(chan Event),
		closed: make(chan struct{}),
	}, nil
}

// explain gives an errno of inotify its class and, where there is one, the
// limit to raise.
func explain(err error, limit string) error {
	switch {
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("limit reached, raise %s or the open files: %w: %w", limit, err, errdefs.ErrResourceExhausted)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", err, errdefs.ErrNotFound)
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", err, errdefs.ErrPermissionDenied)
	}
	return fmt.Errorf("%w: %w", err, errdefs.ErrUnknown)
}

func (w *Watcher) start() {
	w.work.Add(2)
	go w.read()
	go w.deliver()
}

// Events returns the channel of changes. It is closed after Gone, after Close,
// and when the kernel can no longer be read; Err then says which.
func (w *Watcher) Events() <-chan Event { return w.events }

// Err returns why Events was closed: nil after Close or Gone, otherwise an
// error of class [errdefs.ErrUnavailable]. Before that it returns nil.
func (w *Watcher) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close stops watching and returns when both goroutines have ended; undelivered
// events are dropped. It may be called from anywhere and more than once, also
// while nobody receives.
func (w *Watcher) Close() error {
	var err error
	w.once.Do(func() {
		close(w.closed)
		err = w.file.Close()
	})
	w.work.Wait()
	if err != nil && !errors.Is(err, fs.ErrClosed) {
		return fmt.Errorf("watch %s: close: %w", w.path, err)
	}
	return nil
}

// read empties the kernel's queue into ours, always: only a slow reader makes
// the kernel drop events, and with them a CloseWrite that never comes again.
func (w *Watcher) read() {
	defer w.work.Done()
	defer close(w.queue.ready)
	buf := make([]byte, bufferSize)
	for {
		n, err := w.file.Read(buf)
		if err == nil {
			var events []Event
			events, err = decode(buf[:n])
			if end := firstGone(events); end >= 0 {
				w.queue.put(events[:end+1])
				return
			}
			w.queue.put(events)
		}
		if err != nil {
			w.fail(err)
			return
		}
	}
}

func firstGone(events []Event) int {
	for i, e := range events {
		if e.Op.Has(Gone) {
			return i
		}
	}
	return -1
}

// fail keeps the error for Err, unless it is only Close at work.
func (w *Watcher) fail(err error) {
	if errors.Is(err, fs.ErrClosed) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = fmt.Errorf("watch %s: inotify: %w: %w", w.path, err, errdefs.ErrUnavailable)
}

// deliver hands queued events to the consumer, one by one, and closes the
// channel once the reader has ended and nothing is left.
func (w *Watcher) deliver() {
	defer w.work.Done()
	defer close(w.events)
	for more := true; more; {
		_, more = <-w.queue.ready
		for {
			e, ok := w.queue.take()
			if !ok {
				break
			}
			select {
			case w.events <- e:
			case <-w.closed:
				return
			}
		}
	}
}
