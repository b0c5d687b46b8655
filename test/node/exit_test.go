package node

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/porthole-project/porthole/test/testenv"
)

func TestExitCodeOfTheCommand(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "codes"})
		for _, code := range []int{0, 1, 7, 124, 125, 130, 255} {
			r := e.run(shell(p, fmt.Sprintf("exit %d", code))...)
			if r.code != code || r.stdout+r.stderr != "" {
				e.Errorf("exit %d: %s", code, r)
			}
		}
		// The API turns $$$$ into $$, which is the shell's own process.
		for sig, want := range map[string]int{"KILL": 137, "TERM": 143, "HUP": 129, "SEGV": 139} {
			r := e.run(shell(p, "kill -s "+sig+" $$$$; sleep 5")...)
			if r.code != want || r.stdout+r.stderr != "" {
				e.Errorf("SIG%s: %s; want %d", sig, r, want)
			}
		}
		// The image's own command: a shell that finds its input at the end.
		if r := e.run(debug(p)...); r.code != 0 || r.stdout+r.stderr != "" {
			e.Errorf("image's command: %s", r)
		}
	})
}

func TestExitCodeOfABadCommand(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "bad"})
		for _, tc := range []struct {
			command []string
			code    int
			says    string
		}{
			{[]string{"no-such-command"}, 127, `"no-such-command": command not found`},
			{[]string{"/no/such/file", "arg"}, 127, `"/no/such/file": command not found`},
			{[]string{"/etc/passwd"}, 126, `"/etc/passwd": not executable`},
			{[]string{"/etc"}, 126, `"/etc": not executable`},
		} {
			r := e.run(debug(p, append([]string{"--"}, tc.command...)...)...)
			if r.code != tc.code || !strings.Contains(r.stderr, tc.says) || r.stdout != "" {
				e.Errorf("%q: %s; want exit code %d, %q", tc.command, r, tc.code, tc.says)
			}
			e.plain(r.stderr)
		}
	})
}

// silent is a registry that takes connections and never answers.
func (e *env) silent() string {
	e.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close() //nolint:revive // when the listener is closed
		}
	}()
	return l.Addr().String()
}

// TestInterruptedBeforeStart has ctrl-c, and SIGTERM, during a pull.
func TestInterruptedBeforeStart(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "pulling"})
		for sig, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
			c := e.command("debug", p.Name, "--image="+e.silent()+"/some/image:1", "-it", "--", "sh").start()
			c.await(c.stderr, "Pulling image")
			began := time.Now()
			c.signal(sig)
			r := c.ended(want)
			if took := time.Since(began); took > 2*time.Second {
				e.Errorf("%s took %s", sig, took)
			}
			if r.stdout != "" {
				e.Errorf("%s: stdout %q", sig, r.stdout)
			}
			e.plain(r.stderr)
		}
	})
}

func TestSignalsEndTheSession(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "signals"})
		for _, tc := range []struct {
			sig   syscall.Signal
			flags []string
			code  int
		}{
			{syscall.SIGINT, nil, 130},
			{syscall.SIGTERM, nil, 143},
			{syscall.SIGHUP, nil, 129},
			{syscall.SIGTERM, []string{"-i"}, 143},
			{syscall.SIGINT, []string{"-i"}, 130},
			// Process 1 of its own namespace is deaf to SIGTERM.
			{syscall.SIGTERM, []string{"--target="}, 143},
		} {
			c := e.session(p, tc.flags...)
			began := time.Now()
			c.signal(tc.sig)
			c.signal(tc.sig) // once more does not cut the clean-up short
			c.ended(tc.code)
			if took := time.Since(began); took > 5*time.Second {
				e.Errorf("%s %q: clean-up took %s", tc.sig, tc.flags, took)
			}
			if diff := e.residue(settle); diff != "" {
				e.Fatalf("%s %q left behind:\n%s", tc.sig, tc.flags, diff)
			}
		}
	})
}

func TestTimeToLive(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "ttl"})
		began := time.Now()
		r := e.run(debug(p, "--ttl=1s", "--", "sh", "-c", "echo begun; trap '' TERM; sleep 100 & wait; sleep 100")...)
		took := time.Since(began)
		if r.code != 124 || r.stdout != "begun\n" || !strings.Contains(r.stderr, "time is up") {
			e.Errorf("%s; want 124", r)
		}
		if took < time.Second || took > 8*time.Second {
			e.Errorf("took %s, want 1 s and what the end needs", took)
		}
		e.plain(r.stderr)
		// Who is done in time is not told of it.
		if r := e.run(debug(p, "--ttl=1h", "--", "true")...); r.code != 0 || r.stderr != "" {
			e.Errorf("in time: %s", r)
		}
	})
}

// TestPodEndsFirst deletes the pod under a session.
func TestPodEndsFirst(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "deleted"})
		e.changes(p)
		c := e.session(p)
		if err := p.Stop(e.Context()); err != nil {
			e.Fatal(err)
		}
		c.ended(137)
	})
}
