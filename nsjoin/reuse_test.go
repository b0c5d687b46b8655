package nsjoin

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// TestReuse gives the PID of an ended process to another one, inside a PID
// namespace of its own where the next number can be chosen.
func TestReuse(t *testing.T) {
	flags := uintptr(syscall.CLONE_NEWPID | syscall.CLONE_NEWNS)
	if os.Geteuid() != 0 {
		flags |= syscall.CLONE_NEWUSER
	}
	switch c := startChild(t, "reuse", flags); c.line {
	case "ok":
	case "not reused":
		t.Skip("another thread took the number every time")
	default:
		t.Error(c.line)
	}
}

// reuseLine runs as PID 1 of the new namespace and returns "ok" or what is wrong.
func reuseLine() string {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "private mounts: " + err.Error()
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return "mount of proc: " + err.Error()
	}
	first, err := spawn("wait", nil)
	if err != nil {
		return err.Error()
	}
	p, err := Pin(first.Process.Pid)
	if err != nil {
		return err.Error()
	}
	defer p.Close()
	first.end()
	// The start time has a grain of 10 ms.
	time.Sleep(30 * time.Millisecond)
	second, err := respawn(p.PID())
	if err != nil {
		return err.Error()
	}
	if second == nil {
		return "not reused"
	}
	defer second.end()
	if err := judgeReuse(p, first.line, second.line); err != nil {
		return err.Error()
	}
	return "ok"
}

// respawn starts a child under this PID, or returns nil if it cannot get it.
func respawn(pid int) (*child, error) {
	for range 100 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			return nil, err
		}
		c, err := spawn("wait", nil)
		if err != nil || c.Process.Pid == pid {
			return c, err
		}
		c.end()
	}
	return nil, nil
}

func judgeReuse(p *Process, first, second string) error {
	var errs []error
	complain := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	err := p.Alive()
	complain(errdefs.IsNotFound(err), "pin is alive: %w", err)
	_, err = p.Namespaces()
	complain(errdefs.IsNotFound(err), "namespaces of the successor: %w", err)
	conn, err := p.dir.SyscallConn()
	complain(err == nil, "%w", err)
	_ = conn.Control(func(fd uintptr) {
		text, err := readAt(int(fd), "stat")
		complain(err != nil, "the directory shows the successor: %s", text)
	})
	q, err := Pin(p.PID())
	if err != nil {
		return err
	}
	defer q.Close()
	complain(q.Start() != p.Start(), "successor has the same start time %d", q.Start())
	was, errFirst := ParseIdentity(first)
	is, errSecond := ParseIdentity(second)
	complain(was.PID == is.PID, "not the same number: %s, %s", first, second)
	alive, known := was.Running()
	complain(!alive && known, "ended: alive %v, known %v", alive, known)
	alive, known = is.Running()
	complain(alive && known, "running: alive %v, known %v", alive, known)
	return errors.Join(append(errs, errFirst, errSecond)...)
}
