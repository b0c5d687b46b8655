package testenv

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	goruntime "runtime"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
)

// daemon is one run of containerd.
type daemon struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has been waited for
	err  error         // how it ended; valid once done is closed
}

// startDaemon starts containerd on the directories of l. The kernel kills it
// when this process dies, however that happens.
func startDaemon(l layout, bin binaries, log io.Writer) (*daemon, error) {
	file, err := os.OpenFile(l.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("containerd log: %w", err)
	}
	d := &daemon{
		cmd:  exec.Command(bin.containerd, "--config", l.config()),
		done: make(chan struct{}),
	}
	d.cmd.Env = []string{"PATH=" + bin.path(), "TMPDIR=" + l.tmp(), "HOME=/root"}
	d.cmd.Dir = l.dir
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	// Shims inherit the log; do not wait for them to close it.
	d.cmd.WaitDelay = time.Second
	var out io.Writer = file
	if log != nil {
		out = io.MultiWriter(file, log)
	}
	d.cmd.Stdout, d.cmd.Stderr = out, out

	started := make(chan error, 1)
	go func() {
		// The parent-death signal is sent when the *thread* that started the
		// child ends, so this goroutine keeps its thread for the child's life.
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread()
		defer file.Close()
		err := d.cmd.Start()
		started <- err
		if err == nil {
			d.err = d.cmd.Wait()
		}
		close(d.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", bin.containerd, err)
	}
	return d, nil
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// signal sends sig unless the process has ended already.
func (d *daemon) signal(sig os.Signal) error {
	err := d.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("containerd %d has ended: %w", d.pid(), errdefs.ErrFailedPrecondition)
	}
	return err
}

// end sends sig and waits for the process; after timeout it is killed.
func (d *daemon) end(sig os.Signal, timeout time.Duration) {
	_ = d.cmd.Process.Signal(sig) // it may be gone, which is what we want
	select {
	case <-d.done:
		return
	case <-time.After(timeout):
	}
	_ = d.cmd.Process.Kill()
	<-d.done
}

// running reports whether the process has not ended yet.
func (d *daemon) running() bool {
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}
