package nsjoin

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// procFileLimit bounds what is read of one /proc file. A cgroup file of a
// hybrid host has a dozen lines of a few hundred bytes.
const procFileLimit = 1 << 20

// Namespaces reads the namespaces the process lives in and then proves that it
// still lives. It costs seven fstatat calls and keeps nothing open, so the
// answer holds for the moment it is given.
func (p *Process) Namespaces() (Set, error) {
	conn, err := p.dir.SyscallConn()
	if err != nil {
		return nil, p.closed(err)
	}
	set := make(Set)
	var readErr error
	if err := conn.Control(func(fd uintptr) { readErr = readNamespaces(int(fd), set) }); err != nil {
		return nil, p.closed(err)
	}
	if readErr != nil {
		return nil, p.readError("its namespaces", readErr)
	}
	// A zombie still shows some of its namespaces.
	if err := p.Alive(); err != nil {
		return nil, err
	}
	return set, nil
}

func readNamespaces(dir int, set Set) error {
	for _, kind := range Kinds() {
		link := "ns/" + string(kind)
		var st unix.Stat_t
		err := retry(func() error { return unix.Fstatat(dir, link, &st, 0) })
		if errors.Is(err, unix.ENOENT) && errors.Is(unix.Fstatat(dir, link, &st, unix.AT_SYMLINK_NOFOLLOW), unix.ENOENT) {
			continue // a kernel built without this kind
		}
		if err != nil {
			return err
		}
		set[kind] = ID{Device: st.Dev, Inode: st.Ino}
	}
	return nil
}

// read returns the text of one file in the process's /proc directory.
func (p *Process) read(name string) (string, error) {
	conn, err := p.dir.SyscallConn()
	if err != nil {
		return "", p.closed(err)
	}
	var text []byte
	var readErr error
	if err := conn.Control(func(fd uintptr) { text, readErr = readAt(int(fd), name) }); err != nil {
		return "", p.closed(err)
	}
	if readErr != nil {
		return "", p.readError("its "+name+" file", readErr)
	}
	return string(text), nil
}

func readAt(dir int, name string) ([]byte, error) {
	fd := -1
	err := retry(func() (err error) {
		fd, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, procFileLimit))
}

// retry repeats a call that a signal interrupted: the Go scheduler preempts
// threads with signals.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// exitTime is ample for an exiting process, without its memory by then, to end.
const exitTime = 500 * time.Millisecond

// readError classifies an errno from the process's /proc directory. An ended
// process makes every other explanation moot.
func (p *Process) readError(what string, err error) error {
	if alive := p.Alive(); alive != nil {
		return alive
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("process %d: reading %s needs CAP_SYS_PTRACE, also as uid 0, and hostPID in a container: %w: %w", p.pid, what, err, errdefs.ErrPermissionDenied)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESRCH):
		// An exiting process drops its namespaces a moment before it has ended
		// (do_exit: exit_task_namespaces, then exit_notify).
		if alive := p.aliveAfter(exitTime); alive != nil {
			return alive
		}
		return fmt.Errorf("process %d: %s is gone although the process lives, its main thread may have exited: %w: %w", p.pid, what, err, errdefs.ErrFailedPrecondition)
	}
	return fmt.Errorf("process %d: reading %s: %w: %w", p.pid, what, err, errdefs.ErrUnknown)
}
