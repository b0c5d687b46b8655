package node

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/porthole-project/porthole/test/testenv"
)

// TestUnattended: a session that is not waited for runs until its time is up.
func TestUnattended(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "alone"})
		r := e.run(debug(p, "--attach=false", "--ttl=3s", "--", "sleep", "1000")...)
		name := strings.TrimSpace(r.stdout)
		if r.code != 0 || name == "" || r.stderr != "" {
			e.Fatal(r)
		}
		found := e.sessions()
		if len(found) != 1 || found[0].Session != name || found[0].State != "running" {
			e.Fatalf("ps shows %+v, want %s", found, name)
		}
		if r := e.run("gc"); r.code != 0 || len(e.ours()) != 1 {
			e.Errorf("a gc before its time: %s", r)
		}
		e.eventually("its time is up and gc removes it", func() bool {
			r := e.run("gc")
			return strings.Contains(r.stdout, name) && strings.Contains(r.stdout, "expired") && len(e.ours()) == 0
		})
		if got := e.inspected(name); got.State != "gone" || got.Options["attach"] != "false" || !strings.HasPrefix(got.Cause, "expired") {
			e.Errorf("what is left of it: %+v", got)
		}
	})
}

// inspected is what porthole inspect -o json prints, as far as it is looked at.
type inspected struct {
	Session, Container, ID, State, Verification, Image, ImageID, Cause string
	ExitCode                                                           *int
	Options                                                            map[string]string
	Spec                                                               struct {
		Command             []string
		TargetContainerName string
	}
}

func (e *env) inspected(name string) (out inspected) {
	e.Helper()
	r := e.run("inspect", "-o", "json", name)
	if r.code != 0 || json.Unmarshal([]byte(r.stdout), &out) != nil {
		e.Fatal(r)
	}
	return out
}

// TestRecord: what was added stays readable until the pod goes, and a name is
// used once.
func TestRecord(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "kept"})
		c, release := e.held(debug(p, "-i", "-c", "dbg", "--memory=64Mi", "--", "sh", "-c", "read x; echo $$x; read y; exit 4")...)
		live := e.inspected("dbg")
		if live.State != "running" || live.Spec.TargetContainerName != "app" || len(live.Spec.Command) != 3 || live.Options["memory"] != "67108864" {
			e.Errorf("while it runs: %+v", live)
		}
		release()
		c.ended(4)
		for _, name := range []string{"dbg", live.Session, live.ID, live.ID[:12]} {
			got := e.inspected(name)
			if got.State != "gone" || got.ExitCode == nil || *got.ExitCode != 4 || got.Session != live.Session || got.ID != live.ID ||
				got.Verification != "verified: ipc, net, pid, user, uts" || got.ImageID == "" || got.Image != testenv.ImageBusybox {
				e.Errorf("afterwards, by %q: %+v", name, got)
			}
		}
		if r := e.run("ps", "-a"); !strings.Contains(r.stdout, live.Session) || !strings.Contains(r.stdout, "gone(4)") {
			e.Errorf("ps -a: %s", r)
		}
		if r := e.run("ps"); strings.Contains(r.stdout, live.Session) {
			e.Errorf("ps: %s", r)
		}
		e.refused(e.run(debug(p, "-c", "dbg", "--", "true")...), "a name again", `"dbg" was used in pod default/kept before`)
		e.refused(e.run("inspect", "nobody"), "no such session", `no session "nobody"`)
		if info, err := os.Stat(e.state + "/records/" + live.Session + ".json"); err != nil || info.Mode().Perm() != 0o600 {
			e.Errorf("the record: %v, %v", info, err)
		}
		// A launch that came to nothing used no name.
		for range 2 {
			if r := e.run(debug(p, "-c", "never", "--", "/no/such/command")...); r.code != 127 {
				e.Error(r)
			}
		}
		e.changes(p)
		if err := p.Remove(e.Context()); err != nil {
			e.Fatal(err)
		}
		if r := e.run("ps", "-a"); r.code != 0 || strings.Contains(r.stdout, live.Session) || e.records() != "" {
			e.Errorf("the pod has gone, and the record has not: %s", r)
		}
	})
}
