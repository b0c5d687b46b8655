package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/porthole-project/porthole/test/testenv"
)

// patience is how long one run of the binary may take.
const patience = 60 * time.Second

// command is one run of the binary.
type command struct {
	env    *env
	cmd    *exec.Cmd
	stdout *output
	stderr *output
	done   chan struct{} // closed when the process has been waited for
}

// result is how a run ended.
type result struct {
	stdout, stderr string
	code           int // the exit code; -n if signal n killed the process
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d, stdout %s, stderr %s", r.code, brief(r.stdout), brief(r.stderr))
}

// brief quotes a text for a message.
func brief(s string) string {
	const most = 1500
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q … %q (%d bytes)", s[:most/2], s[len(s)-most/2:], len(s))
}

// command prepares a run of the binary with these arguments.
func (e *env) command(args ...string) *command {
	c := &command{env: e, cmd: exec.Command(binary, args...), stdout: newOutput(), stderr: newOutput(), done: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = c.stdout, c.stderr
	c.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/root", "TERM=xterm",
		"PORTHOLE_STATE_DIR=" + e.state, "PORTHOLE_CONFIG=" + e.config,
		"CONTAINER_RUNTIME_ENDPOINT=" + e.node.Endpoint(),
	}
	c.cmd.WaitDelay = 10 * time.Second
	return c
}

// with adds to the environment.
func (c *command) with(env ...string) *command {
	c.cmd.Env = append(c.cmd.Env, env...)
	return c
}

// reading sets the standard input.
func (c *command) reading(r io.Reader) *command {
	c.cmd.Stdin = r
	return c
}

// start starts the process, which does not outlive the test.
func (c *command) start() *command {
	e := c.env
	e.Helper()
	if err := c.cmd.Start(); err != nil {
		e.Fatal(err)
	}
	go func() {
		_ = c.cmd.Wait() // the state says more
		close(c.done)
	}()
	e.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.done
	})
	return c
}

// wait waits for the end of the process.
func (c *command) wait() result {
	c.env.Helper()
	r, err := c.finish()
	if err != nil {
		c.env.Fatal(err)
	}
	return r
}

// finish is wait for other goroutines than the test's.
func (c *command) finish() (result, error) {
	var late error
	select {
	case <-c.done:
	case <-time.After(patience):
		_ = c.cmd.Process.Signal(syscall.SIGQUIT) // a Go program shows what it is doing
		select {
		case <-c.done:
		case <-time.After(time.Second):
		}
		_ = c.cmd.Process.Kill()
		<-c.done
		late = fmt.Errorf("%v: still runs after %s", c.cmd.Args[1:], patience)
	}
	r := result{c.stdout.String(), c.stderr.String(), c.cmd.ProcessState.ExitCode()}
	if status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		r.code = -int(status.Signal())
	}
	if late != nil {
		late = fmt.Errorf("%w: %s", late, r)
	}
	return r, late
}

// signal sends a signal; a process that has ended gets none.
func (c *command) signal(sig os.Signal) {
	c.env.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.env.Fatal(err)
	}
}

// await waits until an output holds the text.
func (c *command) await(o *output, text string) {
	c.env.Helper()
	deadline := time.After(30 * time.Second)
	for done := c.done; ; {
		changed := o.changed()
		if strings.Contains(o.String(), text) {
			return
		}
		select {
		case <-changed:
		case <-done:
			done = nil // what it wrote last is there by now
			if !strings.Contains(o.String(), text) {
				c.env.Fatalf("%v ended without %q: stdout %s, stderr %s", c.cmd.Args[1:], text, brief(c.stdout.String()), brief(c.stderr.String()))
			}
		case <-deadline:
			c.env.Fatalf("%v: no %q within 30 s: stdout %s, stderr %s", c.cmd.Args[1:], text, brief(c.stdout.String()), brief(c.stderr.String()))
		}
	}
}

// run runs the binary to its end.
func (e *env) run(args ...string) result {
	e.Helper()
	return e.command(args...).start().wait()
}

// debug is the command line of a quiet session in the pod with busybox. flags
// and the command behind "--" follow.
func debug(p *testenv.Pod, rest ...string) []string {
	return append([]string{"debug", p.Namespace + "/" + p.Name, "--image=" + testenv.ImageBusybox, "-q"}, rest...)
}

// shell is debug with a script for its shell. Dollar signs are Kubernetes', too:
// $$ comes out as one.
func shell(p *testenv.Pod, script string) []string {
	return debug(p, "--", "sh", "-c", script)
}

// session starts a session that lasts, and returns once its command runs.
func (e *env) session(p *testenv.Pod, flags ...string) *command {
	e.Helper()
	args := append(debug(p, flags...), "--", "sh", "-c", "echo ready; exec sleep 1000")
	c := e.command(args...).start()
	c.await(c.stdout, "ready\n")
	return c
}

// ended checks the exit code of a session that was told to end.
func (c *command) ended(want int) result {
	c.env.Helper()
	r := c.wait()
	if r.code != want {
		c.env.Errorf("%v: %s; want exit code %d", c.cmd.Args[1:], r, want)
	}
	return r
}

// output keeps what is written to it.
type output struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	change chan struct{}
}

func newOutput() *output { return &output{change: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.change)
	o.change = make(chan struct{})
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// changed is closed at the next write.
func (o *output) changed() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.change
}
