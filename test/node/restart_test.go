package node

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/porthole-project/porthole/test/testenv"
)

// TestRuntimeRestarts restarts containerd under a session that prints numbers.
func TestRuntimeRestarts(t *testing.T) {
	const lines = 500
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(strings.ReplaceAll(sig.String(), " ", "-"), func(t *testing.T) {
			each(t, func(e *env) {
				p := e.pod(testenv.PodSpec{Name: "restart"})
				script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); echo line $i; usleep 10000; done; exit 3", lines)
				c := e.command("debug", p.Name, "--image="+testenv.ImageBusybox, "--", "sh", "-c", script).start()
				c.await(c.stdout, "line 50\n")
				if err := e.node.Restart(e.Context(), sig); err != nil {
					e.Fatal(err)
				}
				r := c.ended(3)
				if !strings.Contains(r.stderr, "runtime restarting…\n") || !strings.Contains(r.stderr, "the session goes on\n") {
					e.Errorf("stderr %q, want a notice of the restart", r.stderr)
				}
				missing, problem := numbered(r.stdout, lines)
				if problem != "" || sig == syscall.SIGTERM && missing > 0 || missing > 1 {
					e.Errorf("%d lines are missing: %s", missing, problem)
				}
			})
		})
	}
}

// numbered checks lines that count from 1 to last: each once and in order. It
// returns how many are not there.
func numbered(text string, last int) (missing int, problem string) {
	want := 1
	for line := range strings.Lines(text) {
		word, ok := strings.CutPrefix(line, "line ")
		n, err := strconv.Atoi(strings.TrimSuffix(word, "\n"))
		if !ok || err != nil || n < want || n > last {
			return missing, fmt.Sprintf("%q where line %d is due", line, want)
		}
		missing += n - want
		want = n + 1
	}
	return missing + last + 1 - want, ""
}

// TestRuntimeRestartsUnderAShell has a terminal, and a prompt to come back to.
func TestRuntimeRestartsUnderAShell(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "shellrestart"})
		tty := e.terminal(24, 80, "debug", p.Name, "--image="+testenv.ImageBusybox, "-it", "--", "sh")
		tty.shows(prompt)
		for i, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			if err := e.node.Restart(e.Context(), sig); err != nil {
				e.Fatal(err)
			}
			tty.shows("the session goes on\r\n")
			tty.keys(fmt.Sprintf("echo back-$((%d+1))\r", i))
			tty.shows(fmt.Sprintf("\r\nback-%d\r\n", i+1))
		}
		tty.keys("exit 6\r")
		tty.closed(6)
	})
}

// TestRuntimeIsGoneAtTheEnd ends a session while containerd is dead: what could
// not be removed then, gc removes when it is back.
func TestRuntimeIsGoneAtTheEnd(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "gone"})
		c := e.session(p)
		e.node.Kill()
		c.signal(syscall.SIGTERM)
		began := time.Now()
		r := c.wait()
		e.Logf("gave up after %s", time.Since(began).Round(time.Millisecond))
		if err := e.node.Restart(e.Context(), syscall.SIGKILL); err != nil {
			e.Fatal(err)
		}
		if r.code != 143 || !strings.Contains(r.stderr, "porthole gc") {
			e.Errorf("%s; want 143 and what to do", r)
		}
		e.plain(r.stderr)
		if r := e.run("gc"); r.code != 0 {
			e.Errorf("gc: %s", r)
		}
	})
}
