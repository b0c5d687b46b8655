package node

import (
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/porthole-project/porthole/test/testenv"
)

// orphan leaves a debug container whose keeper was killed, in the middle of its
// session: it is attached, as its input has shown. The moments before are
// TestCancelSoak's.
func (e *env) orphan(p *testenv.Pod, flags ...string) {
	e.Helper()
	args := append(debug(p, "-i"), flags...)
	c, _ := e.held(append(args, "--", "sh", "-c", "read line; echo $line; sleep 1000")...)
	c.signal(syscall.SIGKILL)
	c.ended(-int(syscall.SIGKILL))
}

// TestCollectSpares has a colleague's live session, the pod's own containers,
// and one of them that has ended, beside what is to go.
func TestCollectSpares(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "spared", Containers: []testenv.ContainerSpec{{Name: "app"}, {Name: "done", Command: []string{"/app", "exit", "0"}}}})
		e.changes(p)
		live, release := e.held(debug(p, "-i", "--target=app", "--", "cat")...)
		mine := e.ours()[0].GetId()
		e.orphan(p, "--target=app")
		r := e.run("gc", "--dry-run")
		if r.code != 0 || strings.Count(r.stdout, "\n") != 2 || len(e.ours()) != 2 {
			e.Errorf("gc --dry-run: %s; want the orphan named and left", r)
		}
		if r = e.run("gc"); r.code != 0 || strings.Count(r.stdout, "\n") != 2 || !strings.Contains(r.stdout, "lost its keeper") {
			e.Errorf("gc: %s; want the orphan alone", r)
		}
		if ours := e.ours(); len(ours) != 1 || ours[0].GetId() != mine {
			e.Errorf("after gc there are %v, want %s", ours, mine)
		}
		for _, list := range e.podList() {
			if len(list.Containers) != 3 {
				e.Errorf("the pod has %+v, want its own two and the session", list.Containers)
			}
		}
		release()
		if r := live.ended(0); r.stdout != "held\n" {
			e.Errorf("the colleague's session: %s", r)
		}
	})
}

// TestCollectExpired has a keeper that is alive but stopped, so that it misses
// the end of its session's time.
func TestCollectExpired(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "expired"})
		c := e.session(p, "--ttl=3s")
		e.eventually("the journal is written", func() bool { s := e.sessions(); return len(s) == 1 && s[0].Verification != "" })
		c.signal(syscall.SIGSTOP)
		if r := e.run("gc"); r.stdout != "" || r.code != 0 {
			e.Errorf("gc in time: %s", r)
		}
		time.Sleep(3500 * time.Millisecond)
		if r := e.run("gc"); r.code != 0 || !strings.Contains(r.stdout, "expired at ") {
			e.Errorf("gc: %s; want it to be expired", r)
		}
		if diff := e.residue(settle); diff != "" {
			e.Errorf("gc left behind:\n%s", diff)
		}
		c.signal(syscall.SIGCONT)
		if r := c.wait(); r.code != 124 && r.code != 125 {
			e.Errorf("the session ends with %s", r)
		}
	})
}

func TestCollectEnded(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "ended"})
		c, _ := e.held(debug(p, "-i", "--", "sh", "-c", "read line; echo $line; sleep 0.5; exit 4")...)
		c.signal(syscall.SIGKILL)
		c.ended(-int(syscall.SIGKILL))
		e.eventually("the container ends", func() bool { s := e.sessions(); return len(s) == 1 && s[0].State == "exited" })
		if s := e.sessions()[0]; s.ExitCode == nil || *s.ExitCode != 4 {
			e.Errorf("ps: %+v, want exit code 4", s)
		}
		if r := e.run("ps"); !strings.Contains(r.stdout, "exited(4)") {
			e.Errorf("ps: %s", r)
		}
		if r := e.run("gc"); r.code != 0 || !strings.Contains(r.stdout, "ended with exit code 4") {
			e.Errorf("gc: %s", r)
		}
	})
}

// TestCollectAll asks before it ends what is alive.
func TestCollectAll(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "all"})
		c := e.session(p)
		if r := e.run("gc", "--all"); r.code != 125 || !strings.Contains(r.stderr, "--yes") || !strings.Contains(r.stdout, p.Name) {
			e.Errorf("gc --all without a terminal: %s", r)
		}
		for _, answer := range []string{"n\r", "\r", "what?\r", "\x04"} {
			tty := e.terminal(24, 100, "gc", "--all")
			tty.shows("Remove these 1 sessions? [y/N]")
			tty.keys(answer)
			if r := tty.closed(0); !strings.Contains(r.stdout, "Nothing was removed.") {
				e.Errorf("answer %q: %s", answer, r)
			}
		}
		if len(e.ours()) != 1 {
			e.Fatal("the session is gone though nobody agreed")
		}
		tty := e.terminal(24, 100, "gc", "--all")
		tty.shows("[y/N]")
		tty.keys("y\r")
		tty.closed(0)
		e.collected(c)

		c = e.session(p)
		if r := e.run("gc", "--all", "--yes"); r.code != 0 || !strings.Contains(r.stdout, "asked for") {
			e.Errorf("gc --all --yes: %s", r)
		}
		e.collected(c)
		e.refused(e.run("gc", "everything"), "argument", "no argument")
	})
}

// collected checks a session whose container somebody else has removed.
func (e *env) collected(c *command) {
	e.Helper()
	r := c.wait()
	if r.code != 125 && r.code != 137 && r.code != 143 {
		e.Errorf("the session that was removed ends with %s", r)
	}
	e.plain(r.stderr)
	if diff := e.residue(settle); diff != "" {
		e.Errorf("gc --all left behind:\n%s", diff)
	}
}

func TestTwoCollectorsAtOnce(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "rivals"})
		for range 3 {
			e.orphan(p)
		}
		results := make([]result, 3)
		var wg sync.WaitGroup
		for i := range results {
			wg.Go(func() { results[i], _ = e.command("gc").start().finish() })
		}
		wg.Wait()
		for _, r := range results {
			if r.code != 0 {
				e.Errorf("gc beside others: %s", r)
			}
		}
		if diff := e.residue(settle); diff != "" {
			e.Errorf("left behind:\n%s", diff)
		}
	})
}

// TestCollectWithoutJournal has lost the state directory: the labels are enough
// for everything that a container tells of.
func TestCollectWithoutJournal(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "nojournal"})
		e.orphan(p)
		if r := e.command("gc").with("PORTHOLE_STATE_DIR=" + e.TempDir()).start().wait(); r.code != 0 || !strings.Contains(r.stdout, p.Name) {
			e.Errorf("gc: %s", r)
		}
		if ours := e.ours(); len(ours) != 0 {
			e.Errorf("left: %v", ours)
		}
		// What it did not know of is the file itself, and any later gc's business.
		left := strings.Split(strings.TrimSpace(e.residue(time.Second)), "\n")
		if slices.ContainsFunc(left, func(line string) bool { return !strings.HasPrefix(line, "+ journal ") }) {
			e.Errorf("left behind: %q", left)
		}
		if r := e.run("gc"); r.code != 0 {
			e.Errorf("gc with the journal: %s", r)
		}
	})
}
