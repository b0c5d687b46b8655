package critest

import (
	"os"
	"os/exec"
	"syscall"
)

// Process returns a start for [Server.OnStart] that runs a real child of the test for each container. The child's
// end is the container's, with its exit code (128+n for signal n); StopContainer, RemoveContainer and the end of the
// test kill it, and wait until it is gone.
func Process(argv ...string) func(c *Container) (pid int, err error) {
	return func(c *Container) (int, error) { return c.run(nil, argv) }
}

// stray starts a child that shares no namespace of a kind that a target could be joined in.
func stray(c *Container) (int, error) {
	attr := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET,
	}
	if uid := os.Geteuid(); uid != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
	}
	return c.run(attr, []string{"sleep", "3600"})
}

func (c *Container) run(attr *syscall.SysProcAttr, argv []string) (int, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid := cmd.Process.Pid
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = cmd.Wait()
		c.Exit(exitCode(cmd.ProcessState))
	}()
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.process = func() {
		_ = cmd.Process.Kill()
		<-gone
	}
	return pid, nil
}

func exitCode(state *os.ProcessState) int32 {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int32(ws.Signal())
	}
	return int32(state.ExitCode())
}
