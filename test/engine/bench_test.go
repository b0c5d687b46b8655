// Package engine drives the engine (internal/agent) as cmd/porthole wires it:
// over a recorded CRI runtime that breaks on request (cri/critest), with pinned
// processes that are children of the test. It crosses rooms, so it is not beside
// the engine's code, which knows neither.
//
// What does not belong here: the command line, and real runtimes (test/node).
package engine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"

	"github.com/porthole-project/porthole/cri"
	"github.com/porthole-project/porthole/cri/critest"
	"github.com/porthole-project/porthole/internal/agent"
	"github.com/porthole-project/porthole/internal/journal"
	"github.com/porthole-project/porthole/nsjoin"
	"github.com/porthole-project/porthole/runtime"
)

// bench is an engine on a recorded node, wired as cmd/porthole does it; only
// the target's process is a child of this test.
type bench struct {
	*agent.Engine
	server *critest.Server
	client *cri.Client
	state  string // the journal's directory

	mu      sync.Mutex
	notices []string
}

func newBench(t *testing.T, opts ...critest.Option) *bench {
	t.Helper()
	b := &bench{server: critest.New(t, opts...), state: filepath.Join(t.TempDir(), "sessions")}
	limits := cri.Limits{Call: 5 * time.Second, Create: 5 * time.Second, Pull: 5 * time.Second}
	var err error
	if b.client, err = cri.Dial(t.Context(), cri.Endpoints{Runtime: b.server.Endpoint()}, limits); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.client.Close() })
	b.Engine = &agent.Engine{
		Rung: rung{b.client}, Store: b.client,
		Host: agent.Host{
			Pin: pin, Keeper: "live", Running: keeperRuns, Owner: "jane",
			Describe:    func(context.Context, *runtime.Facts, *corev1.EphemeralContainer) {},
			CheckMount:  func(string) error { return nil },
			LimitPids:   func(int, string, int64) error { return nil },
			Credentials: func(context.Context, string) []runtime.Credential { return nil },
		},
		Notice: func(line string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.notices = append(b.notices, line)
		},
	}
	if b.Journal, err = journal.Open(b.state); err != nil {
		t.Fatal(err)
	}
	b.target(t).SetPID(sleeper(t).Process.Pid)
	return b
}

// keeperRuns knows two keepers; of any other it cannot tell.
func keeperRuns(keeper string) (alive, known bool) {
	return keeper == "live", keeper == "live" || keeper == "dead"
}

type rung struct{ *cri.Client }

func (r rung) Launch(ctx context.Context, plan *runtime.Plan) (agent.Container, error) {
	c, err := r.Client.Launch(ctx, plan)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// process is a pinned child of this test. It is in no container's cgroup.
type process struct{ *nsjoin.Process }

func pin(pid int) (agent.Process, error) {
	p, err := nsjoin.Pin(pid)
	if err != nil {
		return nil, err
	}
	return process{p}, nil
}

func (p process) Namespaces() (map[string]string, error) {
	set, err := p.Process.Namespaces()
	out := map[string]string{}
	for kind, id := range set {
		out[string(kind)] = id.String()
	}
	return out, err
}

func (process) InContainer(string) (bool, error) {
	return false, fmt.Errorf("a child of the test: %w", errdefs.ErrUnknown)
}

// sleeper is a process that lives as long as the test.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "3600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// target is the container app of the recorded pod plain.
func (b *bench) target(t *testing.T) *critest.Container {
	t.Helper()
	_, containers, err := b.client.Find(t.Context(), b.pod(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range containers {
		if k.Name == "app" {
			return b.server.Container(k.ID)
		}
	}
	t.Fatal("pod plain has no container app")
	return nil
}

// pod is the recorded pod plain: static pods have the node's name behind theirs.
func (b *bench) pod(t *testing.T) runtime.Ref {
	t.Helper()
	if b.server.Flavor() == critest.CRIO {
		return runtime.Ref{Name: "plain-testnode2"}
	}
	return runtime.Ref{Name: "plain"}
}

func (b *bench) order(t *testing.T) agent.Order {
	t.Helper()
	o := agent.Order{Ref: b.pod(t), Target: "app"}
	o.Spec.Image, o.Spec.Command = "localhost/busybox:1", []string{"sh"}
	o.Spec.ImagePullPolicy = corev1.PullNever
	return o
}

func (b *bench) prepare(t *testing.T, o agent.Order) *agent.Prepared {
	t.Helper()
	p, err := b.Prepare(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (b *bench) told() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.notices, "\n")
}

// nothingLeft fails the test if anything of the session is there: container,
// log directory, journal.
func (b *bench) nothingLeft(t *testing.T, p *agent.Prepared) {
	t.Helper()
	left, err := b.client.Containers(context.WithoutCancel(t.Context()), map[string]string{runtime.LabelSession: p.Session})
	if err != nil || len(left) > 0 {
		t.Errorf("containers left: %+v, %v", left, err)
	}
	if dir := filepath.Join(p.Plan.LogDirectory, p.Plan.Name); exists(dir) {
		t.Errorf("log directory left: %s", dir)
	}
	if files, err := os.ReadDir(b.state); err != nil || len(files) > 0 {
		t.Errorf("journal left: %v, %v", files, err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
