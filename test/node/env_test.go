package node

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/test/testenv"
)

// labelSession marks the containers that Porthole made. It is spelled out here
// because other programs rely on it, too.
const labelSession = "porthole.dev/session"

// settle is how long the node may take to forget a session.
const settle = 10 * time.Second

// env is one test's view of a node: pods of its own, a state directory of its
// own, and the memory of what was there before.
type env struct {
	*testing.T
	node   *testenv.Node
	state  string // PORTHOLE_STATE_DIR
	config string // PORTHOLE_CONFIG
	before testenv.Residue
	pods   map[string]*watched // by name
}

// watched is a pod that must not notice anything.
type watched struct {
	*testenv.Pod
	started map[string]string // container name: when its process started, in ticks
	changes bool              // the test itself changes the pod
}

// each runs the test on both versions, side by side, and checks afterwards that
// nothing is left and that no pod has noticed. Tests of one node run one after
// the other: they count what is on it.
func each(t *testing.T, test func(e *env)) {
	t.Helper()
	testenv.Each(t, func(t *testing.T, n *testenv.Node) {
		t.Parallel()
		e := &env{T: t, node: n, state: t.TempDir(), config: filepath.Join(t.TempDir(), "config.yaml"), pods: map[string]*watched{}}
		if err := os.WriteFile(e.config, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		e.remember()
		defer e.verify()
		test(e)
	})
}

// pod runs a pod until the end of the test.
func (e *env) pod(spec testenv.PodSpec) *testenv.Pod {
	e.Helper()
	p, err := e.node.RunPod(e.Context(), spec)
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() {
		if err := p.Remove(context.Background()); err != nil {
			e.Error(err)
		}
	})
	w := &watched{Pod: p, started: map[string]string{}}
	for name, c := range p.Containers {
		w.started[name] = startTime(c.PID)
	}
	e.pods[p.Namespace+"/"+p.Name] = w
	e.remember()
	return p
}

// changes says that the test itself stops a part of the pod.
func (e *env) changes(p *testenv.Pod) { e.pods[p.Namespace+"/"+p.Name].changes = true }

// remember takes what is on the node now for what must be there at the end.
func (e *env) remember() {
	e.Helper()
	var err error
	if e.before, err = e.node.Residue(e.Context()); err != nil {
		e.Fatal(err)
	}
}

// verify fails the test for anything that is left, and for a pod that noticed.
func (e *env) verify() {
	e.Helper()
	if diff := e.residue(settle); diff != "" {
		e.Errorf("left behind:\n%s", diff)
	}
	for _, w := range e.pods {
		if !w.changes {
			e.unnoticed(w)
		}
	}
}

// residue waits for the node to be as before and lists what is not. What is in
// the state directory counts, too; what a test has taken away itself does not.
func (e *env) residue(timeout time.Duration) string {
	e.Helper()
	ctx := context.WithoutCancel(e.Context())
	for deadline := time.Now().Add(timeout); ; time.Sleep(20 * time.Millisecond) {
		now, err := e.node.Residue(ctx)
		if err != nil {
			e.Fatal(err)
		}
		var left strings.Builder
		for line := range strings.Lines(e.before.Diff(now)) {
			if !e.changed() || !strings.HasPrefix(line, "- ") {
				left.WriteString(line)
			}
		}
		for _, name := range e.journal() {
			left.WriteString("+ journal " + name + "\n")
		}
		if left.Len() == 0 || time.Now().After(deadline) {
			return left.String()
		}
	}
}

// changed reports whether the test has stopped a part of a pod.
func (e *env) changed() bool {
	for _, w := range e.pods {
		if w.changes {
			return true
		}
	}
	return false
}

// journal lists the files that say what is still to be removed. What was added
// to a pod stays recorded for as long as the pod is there, and is no residue.
func (e *env) journal() []string {
	e.Helper()
	found, err := filepath.Glob(filepath.Join(e.state, "sessions", "*"))
	if err != nil {
		e.Fatal(err)
	}
	return found
}

// unnoticed checks that the pod's own containers are the processes they were.
func (e *env) unnoticed(w *watched) {
	e.Helper()
	ctx := context.WithoutCancel(e.Context())
	list, err := e.node.Runtime().ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{PodSandboxId: w.ID}})
	if err != nil {
		e.Fatal(err)
	}
	var now []string
	for _, c := range list.GetContainers() {
		if c.GetLabels()[labelSession] == "" {
			now = append(now, c.GetId())
		}
	}
	for name, c := range w.Containers {
		if !slices.Contains(now, c.ID) {
			e.Errorf("container %s of pod %s is gone", name, w.Name)
			continue
		}
		status, err := e.node.Runtime().ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.ID})
		if err != nil {
			e.Error(err)
			continue
		}
		if got := status.GetStatus().GetState(); got != runtimeapi.ContainerState_CONTAINER_RUNNING {
			e.Errorf("container %s of pod %s is %s", name, w.Name, got)
		}
		if got := startTime(c.PID); got != w.started[name] || got == "" {
			e.Errorf("process %d of container %s of pod %s started at %q, was %q", c.PID, name, w.Name, got, w.started[name])
		}
	}
	if len(now) != len(w.Containers) {
		e.Errorf("pod %s has containers %v, was made with %v", w.Name, now, slices.Sorted(maps.Keys(w.Containers)))
	}
}

// startTime is field 22 of /proc/PID/stat, or empty if there is no process.
func startTime(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field may hold spaces; it ends at the last parenthesis.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// eventually waits for a condition that has no event.
func (e *env) eventually(what string, ok func() bool) {
	e.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			e.Fatalf("%s: not within 20 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
