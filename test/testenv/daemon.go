package testenv

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
)

// Daemon is a process that runs until it is ended, and no longer than this
// process.
type Daemon struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has been waited for
	err  error         // how it ended; valid once done is closed
}

// StartDaemon starts cmd in a process group of its own. The kernel kills it
// when this process dies, however that happens.
func StartDaemon(cmd *exec.Cmd) (*Daemon, error) {
	d := &Daemon{cmd: cmd, done: make(chan struct{})}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig, cmd.SysProcAttr.Setpgid = syscall.SIGKILL, true
	// What it starts inherits the log; do not wait for them to close it.
	cmd.WaitDelay = time.Second

	started := make(chan error, 1)
	go func() {
		// The parent-death signal is sent when the *thread* that started the
		// child ends, so this goroutine keeps its thread for the child's life.
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			d.err = cmd.Wait()
		}
		close(d.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return d, nil
}

// startContainerd starts containerd on the directories of l.
func startContainerd(l layout, bin binaries, log io.Writer) (*Daemon, error) {
	file, err := os.OpenFile(l.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("containerd log: %w", err)
	}
	var out io.Writer = file
	if log != nil {
		out = io.MultiWriter(file, log)
	}
	cmd := exec.Command(bin.containerd, "--config", l.config())
	cmd.Env = []string{"PATH=" + bin.path(), "TMPDIR=" + l.tmp(), "HOME=/root"}
	cmd.Dir = l.dir
	cmd.Stdout, cmd.Stderr = out, out
	d, err := StartDaemon(cmd)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	go func() {
		<-d.done
		file.Close()
	}()
	return d, nil
}

// PID returns its process ID, also after it has ended.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// signal sends sig unless the process has ended already.
func (d *Daemon) signal(sig os.Signal) error {
	err := d.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s %d has ended: %w", filepath.Base(d.cmd.Path), d.PID(), errdefs.ErrFailedPrecondition)
	}
	return err
}

// End sends sig and waits for the process; after timeout it is killed.
func (d *Daemon) End(sig os.Signal, timeout time.Duration) {
	_ = d.cmd.Process.Signal(sig) // it may be gone, which is what we want
	select {
	case <-d.done:
		return
	case <-time.After(timeout):
	}
	_ = d.cmd.Process.Kill()
	<-d.done
}

// Running reports whether the process has not ended yet.
func (d *Daemon) Running() bool {
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}
