package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/porthole-project/porthole/cri"
)

// startVerb is the hidden command of the process that starts a container and
// does not die with the one that asked for it.
const startVerb = "start-container"

func startCommand(stdio stdio) *cli.Command {
	return &cli.Command{
		Name:   startVerb,
		Usage:  "used by porthole debug",
		Hidden: true,
		Action: func(c *cli.Context) error {
			// Whoever ends the session must not end this; it takes no longer than the
			// runtime's two answers.
			return cri.ServeStart(context.WithoutCancel(c.Context), stdio.in, stdio.out)
		},
	}
}

// executable is this program, set by main: what runs the package otherwise, such
// as its tests, has no such command.
var executable string

// startAside begins the process early, so that it is there when it is needed.
// Without it (no memory, no /proc) the container is started from here. The
// returned function ends a process that was not needed.
func startAside(n *node) (end func()) {
	if executable == "" {
		return func() {}
	}
	cmd := exec.Command(executable, startVerb)
	cmd.Args[0] = os.Args[0]
	// A session of its own: neither ctrl-c nor the end of the terminal reaches it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if inErr != nil || outErr != nil || cmd.Start() != nil {
		return func() {}
	}
	n.client.Starter = &cri.Starter{In: in, Out: out}
	return func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	}
}
