package watch

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

// patience is how long an event may take on a busy machine.
const patience = 10 * time.Second

func mustWatch(t *testing.T, dir string) *Watcher {
	t.Helper()
	w, err := Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func next(t *testing.T, w *Watcher) Event {
	t.Helper()
	select {
	case e, ok := <-w.Events():
		if !ok {
			t.Fatalf("events ended: %v", w.Err())
		}
		return e
	case <-time.After(patience):
		t.Fatal("no event")
	}
	return Event{}
}

// expect waits for exactly these events, in order. Modify may come more than
// once, that is up to the clock.
func expect(t *testing.T, w *Watcher, want ...string) {
	t.Helper()
	last := ""
	for _, wanted := range want {
		got := next(t, w).String()
		for got == last && strings.HasPrefix(got, "modify ") {
			got = next(t, w).String()
		}
		if got != wanted {
			t.Fatalf("got %q, want %q", got, wanted)
		}
		last = got
	}
}

func ended(t *testing.T, w *Watcher) {
	t.Helper()
	select {
	case e, ok := <-w.Events():
		if ok {
			t.Fatalf("one more event: %v", e)
		}
	case <-time.After(patience):
		t.Fatal("channel still open")
	}
}

func create(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestRotation is what kubelet and a runtime do when a log gets too big, and
// what the runtime does when the container has ended.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	log, rotated := filepath.Join(dir, "0.log"), filepath.Join(dir, "0.log.20260102-150405")
	w := mustWatch(t, dir)

	old := create(t, log)
	_, err := old.WriteString("one\n")
	must(t, err)
	expect(t, w, "create 0.log", "modify 0.log")

	must(t, os.Rename(log, rotated))
	_, err = old.WriteString("two\n") // the runtime does not know yet
	must(t, err)
	fresh := create(t, log) // ReopenContainerLog
	must(t, old.Close())
	expect(t, w, "moved-from 0.log", "moved-to 0.log.20260102-150405", "modify 0.log.20260102-150405",
		"create 0.log", "close-write 0.log.20260102-150405")

	_, err = fresh.WriteString("three\n")
	must(t, err)
	must(t, fresh.Close())
	expect(t, w, "modify 0.log", "close-write 0.log")

	must(t, os.Remove(rotated))
	expect(t, w, "delete 0.log.20260102-150405")
}

// TestRemovedWhileOpen: the runtime's last words go into a file without a name.
func TestRemovedWhileOpen(t *testing.T) {
	dir := t.TempDir()
	f := create(t, filepath.Join(dir, "0.log"))
	w := mustWatch(t, dir)
	must(t, os.Remove(filepath.Join(dir, "0.log")))
	expect(t, w, "delete 0.log")
	_, err := f.WriteString("x")
	must(t, err)
	must(t, f.Close())
	expect(t, w, "modify 0.log", "close-write 0.log")
}

// TestBusyWriters: a consumer that sleeps while two files are written in turns
// finds every closing and a handful of writes.
func TestBusyWriters(t *testing.T) {
	dir := t.TempDir()
	w := mustWatch(t, dir)
	const rounds, closings = 7500, 50 // less than the kernel's queue holds
	for range closings {
		a, b := create(t, filepath.Join(dir, "a")), create(t, filepath.Join(dir, "b"))
		for range rounds / closings {
			_, err := a.WriteString("x")
			must(t, err)
			_, err = b.WriteString("x")
			must(t, err)
		}
		must(t, a.Close())
		must(t, b.Close())
	}
	must(t, os.WriteFile(filepath.Join(dir, "end"), nil, 0o600))
	for !newest(w.queue, Event{"end", CloseWrite}) {
		time.Sleep(time.Millisecond)
	}
	counts := make(map[string]int)
	for {
		e := next(t, w)
		if e == (Event{"end", CloseWrite}) {
			break
		}
		counts[e.String()]++
	}
	for _, name := range []string{"a", "b"} {
		if n := counts["close-write "+name]; n != closings {
			t.Errorf("%s: %d of %d closings", name, n, closings)
		}
		if n := counts["modify "+name]; n < 1 || n > closings+1 {
			t.Errorf("%s: %d writes reported for %d closings", name, n, closings)
		}
	}
	if n := counts["overflow"]; n != 0 {
		t.Errorf("%d overflows", n)
	}
}

func newest(q *queue, e Event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.events) > 0 && q.events[len(q.events)-1] == e
}

// TestKernelOverflow fills the kernel's queue before anybody reads it.
func TestKernelOverflow(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	if limit > 200_000 {
		t.Skipf("fs.inotify.max_queued_events is %d", limit)
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	w, err := open(dir)
	must(t, err)
	w.queue = newQueue(10 * limit) // so that only the kernel's can be full
	t.Cleanup(func() { w.Close() })
	for range limit/2 + 1 {
		must(t, os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "link")))
		must(t, os.Remove(filepath.Join(dir, "link")))
	}
	w.start()
	for n := 0; ; n++ {
		if e := next(t, w); e == (Event{Op: Overflow}) {
			if n != limit {
				t.Errorf("overflow after %d events, limit is %d", n, limit)
			}
			break
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "after"), nil, 0o600))
	expect(t, w, "create after", "close-write after")
}

func TestGone(t *testing.T) {
	for name, end := range map[string]func(dir string) error{
		"removed": os.Remove,
		"renamed": func(dir string) error { return os.Rename(dir, dir+".old") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "pod")
			must(t, os.Mkdir(dir, 0o755))
			w := mustWatch(t, dir)
			must(t, end(dir))
			expect(t, w, "gone")
			ended(t, w)
			if err := w.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDirRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if w, err := Dir(filepath.Join(dir, "none")); !errdefs.IsNotFound(err) {
		t.Errorf("missing: %v, %v", w, err)
	}
	if w, err := Dir(file); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a file: %v, %v", w, err)
	}
}

// TestReadError takes the descriptor away, as nothing in real life should.
func TestReadError(t *testing.T) {
	dir := t.TempDir()
	w, err := open(dir)
	must(t, err)
	must(t, w.file.Close())
	// A directory can be opened but not read like a file.
	w.file, err = os.Open(dir)
	must(t, err)
	w.start()
	ended(t, w)
	if err := w.Err(); !errdefs.IsUnavailable(err) {
		t.Errorf("Err = %v", err)
	}
	must(t, w.Close())
}

// TestClose: with and without events waiting, twice, and nothing stays behind.
func TestClose(t *testing.T) {
	before := descriptors(t)
	for i := range 50 {
		dir := t.TempDir()
		w, err := Dir(dir)
		must(t, err)
		if i%2 == 0 {
			must(t, os.WriteFile(filepath.Join(dir, "unread"), nil, 0o600))
		}
		if i%3 == 0 {
			time.Sleep(time.Millisecond) // deliver is stuck in its send
		}
		concurrent := make(chan error)
		go func() { concurrent <- w.Close() }()
		must(t, w.Close())
		must(t, <-concurrent)
		must(t, w.Close())
		for range w.Events() {
			t.Log("an event that was on its way")
		}
		must(t, w.Err())
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
	var stacks bytes.Buffer
	must(t, pprof.Lookup("goroutine").WriteTo(&stacks, 1))
	for _, function := range []string{"(*Watcher).read", "(*Watcher).deliver"} {
		if strings.Contains(stacks.String(), function) {
			t.Errorf("%s still runs:\n%s", function, &stacks)
		}
	}
}

// descriptors counts the inotify instances of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	count := 0
	for _, fd := range fds {
		if link, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.Contains(link, "inotify") {
			count++
		}
	}
	return count
}

func ExampleDir() {
	dir, err := os.MkdirTemp("", "porthole-watch-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	w, err := Dir(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close()
	if err := os.WriteFile(filepath.Join(dir, "0.log"), nil, 0o600); err != nil {
		fmt.Println(err)
	}
	for e := range w.Events() {
		fmt.Println(e)
		if e.Op.Has(CloseWrite) {
			break
		}
	}
	// Output:
	// create 0.log
	// close-write 0.log
}
