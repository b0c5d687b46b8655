package nsjoin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// procRoot is where the kernel shows processes.
const procRoot = "/proc"

// Process is a pinned process: its methods speak of the process that had the
// PID when [Pin] was called and never of a successor. It is safe for concurrent
// use and owns two file descriptors until Close.
type Process struct {
	pid   int
	start uint64
	pidfd *os.File
	// dir is /proc/PID. The kernel ties an open directory to the process, not
	// to the number: once the process is reaped every lookup in it fails.
	dir *os.File
}

// Pin takes hold of the process that has this PID in the caller's PID
// namespace. The caller owns the result and closes it.
//
// A PID without a live process is [errdefs.ErrNotFound], a thread that is not
// the leader of its process or a number below 1 is
// [errdefs.ErrInvalidArgument], and a /proc that shows another PID namespace
// than the caller's is [errdefs.ErrFailedPrecondition].
func Pin(pid int) (*Process, error) {
	return pin(procRoot, pid)
}

func pin(proc string, pid int) (_ *Process, err error) {
	if pid < 1 {
		return nil, fmt.Errorf("process %d: a process id is 1 or more: %w", pid, errdefs.ErrInvalidArgument)
	}
	if err := ownProc(proc); err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, pinError(pid, err)
	}
	p := &Process{pid: pid, pidfd: os.NewFile(uintptr(fd), "pidfd")}
	defer func() {
		if err != nil {
			_ = p.Close()
		}
	}()
	if p.dir, err = os.Open(filepath.Join(proc, strconv.Itoa(pid))); err != nil {
		if alive := p.Alive(); alive != nil {
			return nil, alive
		}
		return nil, fmt.Errorf("process %d: it lives, yet %s does not show it, perhaps mounted with hidepid; run as root: %w: %w", pid, proc, err, errdefs.ErrPermissionDenied)
	}
	text, err := p.read("stat")
	if err != nil {
		return nil, err
	}
	st, err := parseStat(text)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	if st.pid != pid {
		return nil, fmt.Errorf("process %d: %s calls it %d: %w", pid, proc, st.pid, errdefs.ErrFailedPrecondition)
	}
	p.start = st.start
	// The slot cannot be given away before the process has ended. Alive now
	// means that the directory opened above was this process's, too.
	if err := p.Alive(); err != nil {
		return nil, err
	}
	return p, nil
}

// ownProc proves that proc shows the caller's own PID namespace: a number taken
// from one and looked up in another names a stranger.
func ownProc(proc string) error {
	self, err := os.Readlink(filepath.Join(proc, "self"))
	if err == nil && self == strconv.Itoa(os.Getpid()) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("it calls this process %q, not %d", self, os.Getpid())
	}
	return fmt.Errorf("%s is not the proc file system of this PID namespace, mount one there: %w: %w", proc, err, errdefs.ErrFailedPrecondition)
}

// pinError says what an errno of pidfd_open(2) means.
func pinError(pid int, err error) error {
	switch {
	case errors.Is(err, unix.ESRCH):
		return gone(pid)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("process %d: this is a thread, pin the process it belongs to: %w: %w", pid, err, errdefs.ErrInvalidArgument)
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("process %d: pidfd_open needs kernel 5.3: %w: %w", pid, err, errdefs.ErrNotImplemented)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("process %d: pidfd_open is refused, most likely by a seccomp profile: %w: %w", pid, err, errdefs.ErrPermissionDenied)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("process %d: no file descriptor left for a pidfd: %w: %w", pid, err, errdefs.ErrResourceExhausted)
	}
	return fmt.Errorf("process %d: pidfd_open: %w: %w", pid, err, errdefs.ErrUnknown)
}

// gone is the one way this package says that a process is no more.
func gone(pid int) error {
	return fmt.Errorf("process %d: ended, or outside the PID namespace of this process (an agent needs hostPID): %w", pid, errdefs.ErrNotFound)
}

// PID returns the process id in the caller's PID namespace. After the process
// has ended the number may belong to another one: call Alive after using it,
// not before.
func (p *Process) PID() int { return p.pid }

// Start returns the start time in clock ticks (1/100 s) since boot, as
// /proc/PID/stat has it. With the PID and the boot it names a process for good.
func (p *Process) Start() uint64 { return p.start }

// Alive returns nil while the process has not exited, an error of class
// [errdefs.ErrNotFound] once it has (a zombie has exited), and one of class
// [errdefs.ErrFailedPrecondition] after Close.
//
// Whatever was learned through the PID before a nil answer was learned about
// this process.
func (p *Process) Alive() error { return p.aliveAfter(0) }

// aliveAfter is Alive for a process that may be given some time to end.
func (p *Process) aliveAfter(wait time.Duration) error {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return p.closed(err)
	}
	var exited bool
	var pollErr error
	if err := conn.Control(func(fd uintptr) { exited, pollErr = readable(int(fd), wait) }); err != nil {
		return p.closed(err)
	}
	if pollErr != nil {
		return fmt.Errorf("process %d: poll of its pidfd: %w: %w", p.pid, pollErr, errdefs.ErrUnknown)
	}
	if exited {
		return fmt.Errorf("process %d: ended: %w", p.pid, errdefs.ErrNotFound)
	}
	return nil
}

func (p *Process) closed(err error) error {
	return fmt.Errorf("process %d: pin is closed: %w: %w", p.pid, err, errdefs.ErrFailedPrecondition)
}

// readable waits at most that long; a pidfd is readable once the whole process,
// not only its first thread, has exited.
func readable(fd int, wait time.Duration) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for until := time.Now().Add(wait); ; {
		n, err := unix.Poll(fds, int(max(0, time.Until(until)).Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return n > 0, err
	}
}

// Close lets the process go. It does nothing to the process itself. Closing
// twice is harmless.
func (p *Process) Close() error {
	var errs []error
	for _, f := range []*os.File{p.pidfd, p.dir} {
		if f == nil {
			continue
		}
		if err := f.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
