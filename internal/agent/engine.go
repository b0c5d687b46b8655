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
	Image(ctx context.Context, o runtime.ImageOrder) (runtime.Image, error)
	// Launch creates and starts the container. It finishes what it began even if
	// ctx ends meanwhile, and leaves nothing when it fails.
	Launch(ctx context.Context, plan *runtime.Plan) (Container, error)
}

// Store is what the engine asks of a rung to find and remove what is on the
// node.
type Store interface {
	// Ours lists Porthole's containers, running and ended.
	Ours(ctx context.Context) ([]runtime.Info, error)
	// Remove stops and removes a container; one that is not there is no error.
	Remove(ctx context.Context, id string, grace time.Duration) error
	// Reap does so for a container whose keeper died, perhaps in the middle of its
	// start, with what the runtime may then have left of it.
	Reap(ctx context.Context, id string, grace time.Duration) error
	// RemoveImage removes an image, unless a container is of it or it has other
	// names (ErrFailedPrecondition). One that is not there is no error.
	RemoveImage(ctx context.Context, ref string) error
	// Pods lists the pods' sandboxes; nil labels list all.
	Pods(ctx context.Context, labels map[string]string) ([]runtime.Pod, error)
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

// Meter is a Container that can tell how many bytes its writable layer has.
// Where it cannot, only the log is counted.
type Meter interface {
	Written(ctx context.Context) (int64, error)
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
	// Describe adds to what the runtime told what the node and its kubelet tell:
	// the pod's spec, the node's settings, and the files that kubelet prepared for
	// what the spec refers to.
	Describe func(ctx context.Context, facts *runtime.Facts, spec *corev1.EphemeralContainer)
	// CheckMount refuses a host path that leads through a proc file system, whose
	// links mean something else to the runtime than they say.
	CheckMount func(path string) error
	// LimitPids caps the processes of the container of this ID, in which pid runs:
	// for cgroup v1, where no request can carry it.
	LimitPids func(pid int, id string, limit int64) error
	// Credentials finds what may open the image's registry, best first.
	Credentials func(ctx context.Context, image string) []runtime.Credential
}

// Engine opens debug containers on one node. Its fields are set once, before
// use.
type Engine struct {
	Rung    Rung
	Store   Store
	Host    Host
	Journal *journal.Dir // nil where no state can be kept
	// Endpoint is the runtime that Rung and Store speak to: what the journal and the
	// records have of another is not touched.
	Endpoint string
	// Records remember what was added to which pod; nil where no state can be kept.
	Records *journal.Records
	// Notice tells the user something in one line; never nil. Verbose tells what
	// only somebody who asked for it wants to know.
	Notice  func(line string)
	Verbose func(line string)
}

func (e *Engine) verbose(line string) {
	if e.Verbose != nil {
		e.Verbose(line)
	}
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
