package runtime

import (
	"cmp"
	"slices"
	"time"
)

// Labels and annotations that kubelet writes and reads. Source: kubelet's
// pkg/kubelet/types/labels.go and kuberuntime/labels.go.
const (
	LabelPodName       = "io.kubernetes.pod.name"
	LabelPodNamespace  = "io.kubernetes.pod.namespace"
	LabelPodUID        = "io.kubernetes.pod.uid"
	LabelContainerName = "io.kubernetes.container.name"

	// AnnotationDefaultContainer names the container that kubectl's exec, logs
	// and debug mean when none is named.
	AnnotationDefaultContainer = "kubectl.kubernetes.io/default-container"
)

// State is the state of a container or sandbox, in the words of the CRI.
type State string

// The states. A sandbox is Ready or NotReady; a container is one of the rest.
const (
	Ready    State = "ready"
	NotReady State = "notready"
	Created  State = "created"
	Running  State = "running"
	Exited   State = "exited"
	Unknown  State = "unknown"
)

// Pod is one sandbox of a pod as the container runtime lists it.
type Pod struct {
	ID          string // the sandbox's ID
	Name        string
	Namespace   string
	UID         string
	Attempt     uint32 // grows when kubelet makes the sandbox anew
	State       State
	Created     time.Time
	Handler     string // the runtime handler, empty for the default
	Labels      map[string]string
	Annotations map[string]string
}

// FullName is NAMESPACE/NAME, the way a pod is written for people.
func (p Pod) FullName() string { return p.Namespace + "/" + p.Name }

// Container is one container of a pod as the container runtime lists it.
type Container struct {
	ID          string
	PodID       string // the sandbox it belongs to
	Name        string
	Image       string // as the pod's author wrote it, where the runtime kept that
	ImageID     string
	Attempt     uint32
	State       State
	Created     time.Time
	Labels      map[string]string
	Annotations map[string]string
}

// Newest keeps, of the containers that share a sandbox and a name, only the
// one created last (kubelet keeps dead ones of earlier attempts), in order of
// creation.
func Newest(containers []Container) []Container {
	type key struct{ pod, name string }
	last := map[key]Container{}
	for _, c := range containers {
		k := key{c.PodID, c.Name}
		if old, ok := last[k]; !ok || c.Created.After(old.Created) || c.Created.Equal(old.Created) && c.Attempt > old.Attempt {
			last[k] = c
		}
	}
	out := make([]Container, 0, len(last))
	for _, c := range last {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Container) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return out
}
