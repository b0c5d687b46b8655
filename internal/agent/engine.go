// Package agent is the engine: it takes an order for a debug container from
// name to clean-up. It resolves the pod, plans, writes down what it is about to
// make, launches, proves that the namespaces are the target's, carries the
// streams, and removes everything again, whatever happens in between; and it
// collects what others could not remove.
//
// The command line runs it in its own process; that is direct mode.
//
// What does not belong here: any runtime's API, /proc, terminals, flags. They
// come in through the small interfaces below, which cmd/porthole fills.
package agent

import (
	"context"
	"crypto/rand"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/porthole-project/porthole/internal/journal"
	"github.com/porthole-project/porthole/runtime"
)

// Rung is one way of opening a container in a pod.
type Rung interface {
	// Find tells which pod ref means, and its containers.
	Find(ctx context.Context, ref runtime.Ref) (runtime.Match, []runtime.Container, error)
	// Facts gathers what the plan must know; target may be nil.
	Facts(ctx context.Context, pod runtime.Pod, containers []runtime.Container, target *runtime.Container) (*runtime.Facts, error)
	// Image makes sure that the image is on the node.
	Image(ctx context.Context, ref string, policy corev1.PullPolicy, notice func(string)) (runtime.Image, error)
	// Launch creates and starts the container. It finishes what it began even if
	// ctx ends meanwhile, and leaves nothing when it fails.
	Launch(ctx context.Context, plan *runtime.Plan) (Container, error)
}

// Store is what the engine asks of a rung to find and remove debug containers.
type Store interface {
	// Ours lists Porthole's containers, running and ended.
	Ours(ctx context.Context) ([]runtime.Info, error)
	// Remove stops and removes a container; one that is not there is no error.
	Remove(ctx context.Context, id string, grace time.Duration) error
	// Reap does so for a container whose keeper died, perhaps in the middle of its
	// start, with what the runtime may then have left of it.
	Reap(ctx context.Context, id string, grace time.Duration) error
}

// Container is a running debug container.
type Container interface {
	ID() string
	// PID is its first process: ErrNotFound when that has ended, 0 if not told.
	PID(ctx context.Context) (int, error)
	// Stream carries its streams until it ends.
	Stream(ctx context.Context, streams runtime.Streams) (runtime.Exit, error)
	// Stop ends its process.
	Stop(ctx context.Context, grace time.Duration) error
	// Close frees what the handle holds; the container is not touched.
	Close() error
}

// Process is a pinned process of the node: what is read through it is never
// another's, even if its number is given out again (ErrNotFound then).
type Process interface {
	// Namespaces maps the kinds (pid, net, ipc, uts, user, …) to what identifies
	// each.
	Namespaces() (map[string]string, error)
	// InContainer reports whether it runs in the container of this ID. ErrUnknown
	// says that it cannot be told.
	InContainer(id string) (bool, error)
	Close() error
}

// Files says where kubelet keeps a pod's files; a path is empty when there is
// none.
type Files struct {
	EtcHosts     string
	ContainerDir string // for the debug container's termination log, not yet made
}

// Host is what the engine needs of the machine.
type Host struct {
	// Pin takes hold of a process; ErrNotFound when it has ended.
	Pin func(pid int) (Process, error)
	// Keeper identifies this process, and Running tells whether the process of
	// such an identity still runs, if that can be known.
	Keeper  string
	Running func(keeper string) (alive, known bool)
	// Owner is who is acting, for the label.
	Owner string
	// Files finds kubelet's files for a debug container of this name.
	Files func(facts *runtime.Facts, name string) Files
	// Node facts that kubelet puts into each request.
	HugepageSizes, ThermalThrottle []string
}

// Engine opens debug containers on one node. Its fields are set once, before
// use.
type Engine struct {
	Rung    Rung
	Store   Store
	Host    Host
	Journal *journal.Dir // nil where no state can be kept
	// Notice tells the user something in one line; never nil.
	Notice func(line string)
}

// stopGrace is how long a debug container's process has between SIGTERM and
// SIGKILL when it is ended from outside. Shells ignore SIGTERM.
const stopGrace = time.Second

// nameAlphabet is what Kubernetes uses for random names: no vowels, no
// look-alikes.
const nameAlphabet = "bcdfghjklmnpqrstvwxz2456789"

// randomName returns n letters of nameAlphabet.
func randomName(n int) string {
	out := make([]byte, 0, n)
	for len(out) < n {
		var b [1]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		if i := int(b[0] & 31); i < len(nameAlphabet) {
			out = append(out, nameAlphabet[i])
		}
	}
	return string(out)
}
