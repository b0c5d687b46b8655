package runtime

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// maxCandidates bounds how many candidates an error lists.
const maxCandidates = 12

// Match is what a [Ref] turned out to mean.
type Match struct {
	Pod Pod
	// Container is set when the reference was a container's ID; that container
	// is then the target unless another is named.
	Container *Container
}

// Find picks the one pod that ref means among the listed sandboxes and
// containers. A live sandbox hides dead ones of the same pod. Nothing found is
// ErrNotFound, several pods found ErrFailedPrecondition; both list what could
// have been meant.
func Find(ref Ref, pods []Pod, containers []Container) (Match, error) {
	pods = live(pods)
	var hits []Match
	for _, p := range pods {
		if p.Name == ref.Name && (ref.Namespace == "" || p.Namespace == ref.Namespace) {
			hits = append(hits, Match{Pod: p})
		}
	}
	if len(hits) == 0 && ref.ID != "" {
		hits = byID(ref, pods, containers)
	}
	switch len(hits) {
	case 1:
		return hits[0], nil
	case 0:
		return Match{}, fmt.Errorf("no pod %s on this node%s: %w", ref, candidates(pods), errdefs.ErrNotFound)
	default:
		var found []Pod
		for _, h := range hits {
			found = append(found, h.Pod)
		}
		return Match{}, fmt.Errorf("%s is ambiguous: %d pods match%s; name one as NAMESPACE/NAME or by its ID: %w",
			ref, len(hits), candidates(found), errdefs.ErrFailedPrecondition)
	}
}

func byID(ref Ref, pods []Pod, containers []Container) []Match {
	var hits []Match
	inNamespace := func(p Pod) bool { return ref.Namespace == "" || p.Namespace == ref.Namespace }
	for _, p := range pods {
		if strings.HasPrefix(p.ID, ref.ID) && inNamespace(p) {
			hits = append(hits, Match{Pod: p})
		}
	}
	for _, c := range containers {
		if !strings.HasPrefix(c.ID, ref.ID) {
			continue
		}
		i := slices.IndexFunc(pods, func(p Pod) bool { return p.ID == c.PodID })
		if i >= 0 && inNamespace(pods[i]) {
			hits = append(hits, Match{Pod: pods[i], Container: &c})
		}
	}
	return hits
}

// live drops the dead sandboxes of pods that have a newer one; kubelet keeps
// old sandboxes for a while when a pod's sandbox had to be made anew.
func live(pods []Pod) []Pod {
	newest := map[string]Pod{}
	better := func(a, b Pod) bool {
		if (a.State == Ready) != (b.State == Ready) {
			return a.State == Ready
		}
		return a.Created.After(b.Created) || a.Created.Equal(b.Created) && a.Attempt > b.Attempt
	}
	for _, p := range pods {
		key := p.FullName() + "/" + p.UID
		if old, ok := newest[key]; !ok || better(p, old) {
			newest[key] = p
		}
	}
	var out []Pod
	for _, p := range pods {
		if newest[p.FullName()+"/"+p.UID].ID == p.ID {
			out = append(out, p)
		}
	}
	return out
}

func candidates(pods []Pod) string {
	if len(pods) == 0 {
		return "; it has no pods at all"
	}
	var names []string
	for _, p := range pods {
		names = append(names, fmt.Sprintf("%s (%.13s)", p.FullName(), p.ID))
	}
	slices.Sort(names)
	more := ""
	if n := len(names) - maxCandidates; n > 0 {
		names, more = names[:maxCandidates], fmt.Sprintf(" and %d more", n)
	}
	return ": " + strings.Join(names, ", ") + more
}

// Choice is the target container that was chosen and why.
type Choice struct {
	Container Container
	// Note is a line for the user when the choice was not their own, else empty.
	Note string
}

// ChooseTarget picks the container whose processes the debug container will
// share. want is the name given by the user, or empty for the default: the
// annotation kubectl.kubernetes.io/default-container, else the only running
// container, else the first in the order known. Porthole's own containers are
// never a default. containers are those of pod's sandbox.
func ChooseTarget(pod Pod, containers []Container, want string) (Choice, error) {
	containers = Newest(containers)
	byName := func(name string) (Container, bool) {
		i := slices.IndexFunc(containers, func(c Container) bool { return c.Name == name || len(name) >= 12 && strings.HasPrefix(c.ID, name) })
		if i < 0 {
			return Container{}, false
		}
		return containers[i], true
	}
	if want != "" {
		if c, ok := byName(want); ok {
			return Choice{Container: c}, nil
		}
		return Choice{}, fmt.Errorf("pod %s has no container %q (it has %s): %w", pod.FullName(), want, containerNames(containers), errdefs.ErrNotFound)
	}
	var app, running []Container
	for _, c := range containers {
		if IsOurs(c.Labels) {
			continue
		}
		app = append(app, c)
		if c.State == Running {
			running = append(running, c)
		}
	}
	if name := pod.Annotations[AnnotationDefaultContainer]; name != "" {
		if c, ok := byName(name); ok && !IsOurs(c.Labels) {
			return Choice{c, fmt.Sprintf("Targeting container %q (the pod's annotation %s).", c.Name, AnnotationDefaultContainer)}, nil
		}
	}
	switch {
	case len(running) == 1:
		return Choice{running[0], fmt.Sprintf("Targeting container %q, the only one running.", running[0].Name)}, nil
	case len(running) > 1:
		return Choice{running[0], fmt.Sprintf("Targeting container %q, the first of %s; --target names another.", running[0].Name, containerNames(running))}, nil
	case len(app) > 0:
		return Choice{app[0], fmt.Sprintf("Targeting container %q, the first of %s (none is running).", app[0].Name, containerNames(app))}, nil
	}
	return Choice{}, fmt.Errorf("pod %s has no container to share processes with; --target= opens the pod without one: %w", pod.FullName(), errdefs.ErrFailedPrecondition)
}

func containerNames(containers []Container) string {
	if len(containers) == 0 {
		return "none"
	}
	var names []string
	for _, c := range containers {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}
