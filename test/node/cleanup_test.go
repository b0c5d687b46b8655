package node

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/porthole-project/porthole/test/testenv"
)

// TestKilledThenCollected kills the CLI, which can do nothing about it; the
// next gc can.
func TestKilledThenCollected(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "killed"})
		for _, flags := range [][]string{nil, {"--target="}, {"--profile=sysadmin"}} {
			e.orphan(p, flags...)
			r := e.run("gc")
			if r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, p.Namespace+"/"+p.Name) {
				e.Errorf("%q: gc: %s; want a line of %s", flags, r, p.Name)
			}
			if diff := e.residue(settle); diff != "" {
				e.Fatalf("%q: gc left behind:\n%s", flags, diff)
			}
		}
		if r := e.run("gc"); r.code != 0 || r.stdout != "" || r.stderr != "Nothing to remove.\n" {
			e.Errorf("gc with nothing to do: %s", r)
		}
	})
}

// TestCancelSoak ends the CLI at random moments of its first 150 ms and later,
// in every way there is. One gc afterwards leaves nothing.
func TestCancelSoak(t *testing.T) {
	n := count(t, 50, 100)
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("PORTHOLE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("PORTHOLE_SEED: %v", err)
		}
	}
	t.Logf("PORTHOLE_SEED=%d", seed)
	each(t, func(e *env) {
		random := rand.New(rand.NewPCG(seed, 0))
		p := e.pod(testenv.PodSpec{Name: "cancel"})
		signals := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}
		for i := range n {
			sig, after := signals[random.IntN(len(signals))], time.Duration(random.IntN(150_000))*time.Microsecond
			c := e.command(debug(p, "--", "sleep", "1000")...).start()
			time.Sleep(after)
			c.signal(sig)
			r := c.wait()
			// A process that the signal finds before it has asked for signals dies of it.
			if want := 128 + int(sig); r.code != want && r.code != -int(sig) {
				e.Errorf("run %d: %s after %s: %s; want %d", i, sig, after, r, want)
			}
		}
		if r := e.run("gc"); r.code != 0 {
			e.Errorf("gc: %s", r)
		}
		if diff := e.residue(settle); diff != "" {
			e.Errorf("one gc left behind:\n%s", diff)
		}
	})
}

// TestManyAtOnce opens one pod several times at the same moment.
func TestManyAtOnce(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "crowd"})
		var all []*command
		for i := range 6 {
			all = append(all, e.command(debug(p, "--", "sh", "-c", fmt.Sprintf("echo %d; sleep 0.2; echo end; exit %d", i, i))...).start())
		}
		for i, c := range all {
			if r := c.ended(i); r.stdout != fmt.Sprintf("%d\nend\n", i) || r.stderr != "" {
				e.Errorf("session %d: %s", i, r)
			}
		}
	})
}
