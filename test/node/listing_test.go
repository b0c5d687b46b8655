package node

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/porthole-project/porthole/test/testenv"
)

// session is a line of ps -o json.
type session struct {
	Session, Namespace, Pod, PodUID, Container, ID string
	Target, Image, Owner, State, Reason            string
	Verification                                   string
	ExitCode                                       *int
	Created                                        time.Time
	Expires                                        *time.Time
}

// sessions is what ps says.
func (e *env) sessions() []session {
	e.Helper()
	r := e.run("ps", "-o", "json")
	var list struct {
		APIVersion, Kind string
		Items            []session
	}
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || r.code != 0 || list.Kind != "SessionList" || list.APIVersion == "" {
		e.Fatalf("ps: %s, %v", r, err)
	}
	return list.Items
}

func TestPods(t *testing.T) {
	each(t, func(e *env) {
		web := e.pod(testenv.PodSpec{Name: "web", Namespace: "shop", Labels: map[string]string{"tier": "front"}})
		e.pod(testenv.PodSpec{Name: "db", Namespace: "shop", Labels: map[string]string{"tier": "back"}, Containers: []testenv.ContainerSpec{{Name: "db"}, {Name: "side"}}})
		e.pod(testenv.PodSpec{Name: "web", Namespace: "default"})
		for _, tc := range []struct {
			args []string
			want []string
		}{
			{nil, []string{"default/web", "shop/db", "shop/web"}},
			{[]string{"-A"}, []string{"default/web", "shop/db", "shop/web"}},
			{[]string{"-n", "shop"}, []string{"shop/db", "shop/web"}},
			{[]string{"-n", "nowhere"}, nil},
			{[]string{"-l", "tier"}, []string{"shop/db", "shop/web"}},
			{[]string{"-l", "tier in (back,middle)"}, []string{"shop/db"}},
			{[]string{"-l", "tier=front,tier!=back", "-n", "default"}, nil},
		} {
			var names []string
			for _, p := range e.podList(tc.args...) {
				names = append(names, p.Namespace+"/"+p.Name)
			}
			if !slices.Equal(names, tc.want) {
				e.Errorf("pods %q: %q, want %q", tc.args, names, tc.want)
			}
		}
		list := e.podList("-n", "shop", "-l", "tier=front")
		if len(list) != 1 || list[0].Sandbox != web.ID || list[0].UID != web.UID || list[0].State != "ready" || len(list[0].Containers) != 1 || list[0].Containers[0].State != "running" || !e.isImage(list[0].Containers[0].Image, testenv.ImageApp) {
			e.Errorf("pods: %+v", list)
		}
		if r := e.run("pods", "-n", "shop"); r.code != 0 || !slices.Equal(columns(r.stdout), []string{"NAMESPACE", "POD", "CONTAINERS", "STATE", "AGE", "RUNTIME"}) || !strings.Contains(r.stdout, "db,side") {
			e.Errorf("table: %s", r)
		}
		if r := e.run("pods", "-o", "wide"); !strings.Contains(r.stdout, web.UID) || !strings.Contains(r.stdout, web.ID[:13]) {
			e.Errorf("wide: %s", r)
		}
		if r := e.run("pods", "-o", "name", "-n", "shop"); r.stdout != "pod/db\npod/web\n" {
			e.Errorf("name: %s", r)
		}
		if r := e.run("pods", "-n", "nowhere"); r.code != 0 || r.stdout != "" || r.stderr != "No pods on this node match.\n" {
			e.Errorf("none: %s", r)
		}
		for what, args := range map[string][]string{"want table": {"pods", "-o", "xml"}, "selector": {"pods", "-l", "a=b=c"}, "exclude": {"pods", "-A", "-n", "x"}, "no argument": {"pods", "web"}} {
			e.refused(e.run(args...), what, what)
		}
	})
}

// podView is a line of pods -o json.
type podView struct {
	Namespace, Name, UID, Sandbox, State, Runtime string
	Containers                                    []struct {
		Name, ID, Image, State string
		Debug                  bool
	}
}

// podList is what pods says as JSON, which YAML must repeat.
func (e *env) podList(args ...string) []podView {
	e.Helper()
	var fromJSON, fromYAML struct{ Items []podView }
	r := e.run(append([]string{"pods", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(r.stdout), &fromJSON); err != nil || r.code != 0 {
		e.Fatalf("pods %q: %s, %v", args, r, err)
	}
	r = e.run(append([]string{"pods", "-o", "yaml"}, args...)...)
	if err := yaml.Unmarshal([]byte(r.stdout), &fromYAML); err != nil || r.code != 0 || len(fromYAML.Items) != len(fromJSON.Items) {
		e.Fatalf("pods %q as YAML: %s, %v", args, r, err)
	}
	return fromJSON.Items
}

// isImage reports whether an image is shown as it was asked for. containerd 1.6
// does not keep that in its lists and shows the ID.
func (e *env) isImage(got, want string) bool {
	return got == want || e.node.Version() == testenv.V16 && strings.HasPrefix(got, "sha256:")
}

// columns are the words of a table's first line.
func columns(table string) []string {
	line, _, _ := strings.Cut(table, "\n")
	return strings.Fields(line)
}

func TestSessions(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "listed"})
		if r := e.run("ps"); r.code != 0 || r.stdout != "" || r.stderr != "No debug containers on this node.\n" {
			e.Errorf("ps without sessions: %s", r)
		}
		began := time.Now()
		c := e.command(append(debug(p, "-c", "mine", "--ttl=10m"), "--", "sh", "-c", "echo ready; sleep 1000")...).with("SUDO_USER=carol").start()
		c.await(c.stdout, "ready\n")
		var s session
		e.eventually("ps tells of the verification", func() bool {
			list := e.sessions()
			if len(list) != 1 {
				e.Fatalf("ps: %+v, want one session", list)
			}
			s = list[0]
			return s.Verification != ""
		})
		if s.Namespace != p.Namespace || s.Pod != p.Name || s.PodUID != p.UID || s.Container != "mine" || s.Target != "app" || s.Owner != "carol" ||
			s.State != "running" || s.ExitCode != nil || !e.isImage(s.Image, testenv.ImageBusybox) || s.Verification != "verified: ipc, net, pid, user, uts" {
			e.Errorf("ps: %+v", s)
		}
		if s.Expires == nil || s.Expires.Sub(began) < 9*time.Minute || s.Expires.Sub(began) > 11*time.Minute || s.Created.Sub(began).Abs() > time.Minute {
			e.Errorf("created %s, expires %v; want in 10 minutes", s.Created, s.Expires)
		}
		if r := e.run("ps"); !slices.Equal(columns(r.stdout), []string{"SESSION", "POD", "TARGET", "STATE", "AGE", "EXPIRES", "OWNER"}) || !strings.Contains(r.stdout, "in 9m") {
			e.Errorf("table: %s", r)
		}
		if r := e.run("ps", "-o", "name"); r.stdout != s.Session+"\n" {
			e.Errorf("name: %s; want %s", r, s.Session)
		}
		// The pod's own list marks it, and the table leaves it out.
		if list := e.podList(); len(list) != 1 || len(list[0].Containers) != 2 || !list[0].Containers[1].Debug || list[0].Containers[0].Debug {
			e.Errorf("pods: %+v", list)
		}
		if r := e.run("pods"); strings.Contains(r.stdout, "mine") {
			e.Errorf("pods: %s", r)
		}
		c.signal(syscall.SIGTERM)
		c.ended(143)
	})
}

func TestVersionAndCompletion(t *testing.T) {
	each(t, func(e *env) {
		var v map[string]string
		if r := e.run("version", "-o", "json"); json.Unmarshal([]byte(r.stdout), &v) != nil || v["version"] == "" || v["go"] == "" || v["platform"] == "" {
			e.Errorf("version: %s", r)
		}
		// It is the program's, not the runtime's: no socket is needed.
		if r := e.command("version").with("CONTAINER_RUNTIME_ENDPOINT=unix:///nowhere").start().wait(); r.code != 0 || !strings.HasPrefix(r.stdout, "porthole ") {
			e.Errorf("version: %s", r)
		}
		for _, name := range []string{"bash", "zsh", "fish"} {
			r := e.run("completion", name)
			if r.code != 0 || !strings.Contains(r.stdout, "porthole") {
				e.Errorf("completion %s: %s", name, r)
			}
			if _, err := exec.LookPath(name); err != nil {
				continue
			}
			check := exec.CommandContext(e.Context(), name, "-n")
			check.Stdin = strings.NewReader(r.stdout)
			if out, err := check.CombinedOutput(); err != nil {
				e.Errorf("%s: %v: %s", check, err, out)
			}
		}
		e.refused(e.run("completion", "tcsh"), "tcsh", "bash, zsh or fish")
		p := e.pod(testenv.PodSpec{Name: "completed"})
		if r := e.run("debug", "--generate-bash-completion"); r.code != 0 || !strings.Contains(r.stdout, p.Name+"\n") {
			e.Errorf("pods are not completed: %s", r)
		}
		if r := e.run("--help"); r.code != 0 || !strings.Contains(r.stdout, "127") || !strings.Contains(r.stdout, "the command was not found") {
			e.Errorf("help: %s; want the table of exit codes", r)
		}
	})
}
