package testenv

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The kinds of things that a session may leave on a node.
const (
	KindSandbox     = "CRI sandbox"
	KindCRI         = "CRI container"
	KindContainer   = "containerd container"
	KindSnapshot    = "snapshot"
	KindLease       = "lease"
	KindShim        = "shim"
	KindMount       = "mount" // under Dir: root file systems, network namespaces
	KindCgroup      = "cgroup"
	KindLog         = "log directory"
	KindTermination = "termination directory"
)

// Residue is what exists on a node at one moment: for each kind the sorted
// names, those of containerd's own things as "namespace/name".
type Residue map[string][]string

// Count returns how many things of a kind there are.
func (r Residue) Count(kind string) int { return len(r[kind]) }

// Diff lists what differs between r, taken earlier, and now, a line for each
// thing that came ("+") or went ("-"). It is empty if nothing differs.
func (r Residue) Diff(now Residue) string {
	kinds := map[string]bool{}
	for kind := range r {
		kinds[kind] = true
	}
	for kind := range now {
		kinds[kind] = true
	}
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		for _, name := range missingFrom(r[kind], now[kind]) {
			fmt.Fprintf(&b, "+ %s %s\n", kind, name)
		}
		for _, name := range missingFrom(now[kind], r[kind]) {
			fmt.Fprintf(&b, "- %s %s\n", kind, name)
		}
	}
	return b.String()
}

// missingFrom returns the names that are not in base.
func missingFrom(base, names []string) []string {
	var out []string
	for _, name := range names {
		if !slices.Contains(base, name) {
			out = append(out, name)
		}
	}
	return out
}

// Residue looks at everything that containerd, its shims and we keep on this
// node, in all of containerd's namespaces.
func (n *Node) Residue(ctx context.Context) (Residue, error) {
	r := Residue{}
	if err := n.criResidue(ctx, r); err != nil {
		return nil, fmt.Errorf("residue: CRI: %w", err)
	}
	names, err := n.containerd.NamespaceService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("residue: containerd namespaces: %w", err)
	}
	for _, ns := range names {
		if err := n.containerdResidue(namespaces.WithNamespace(ctx, ns), ns, r); err != nil {
			return nil, fmt.Errorf("residue: containerd namespace %s: %w", ns, err)
		}
	}
	if err := n.hostResidue(r); err != nil {
		return nil, fmt.Errorf("residue: %w", err)
	}
	for kind, list := range r {
		slices.Sort(list)
		r[kind] = slices.Compact(list) // a cgroup is in every hierarchy of v1
	}
	return r, nil
}

// Settles waits until the node's residue is that of before, and returns what
// still differs when timeout has passed. The kernel and containerd remove some
// things a moment after the call that removes them has returned.
func (n *Node) Settles(ctx context.Context, before Residue, timeout time.Duration) (string, error) {
	deadline := time.Now().Add(timeout)
	for {
		now, err := n.Residue(ctx)
		if err != nil {
			return "", err
		}
		diff := before.Diff(now)
		if diff == "" || time.Now().After(deadline) {
			return diff, nil
		}
		if err := pause(ctx, 2*pollInterval); err != nil {
			return diff, err
		}
	}
}

func (r Residue) add(kind, name string) { r[kind] = append(r[kind], name) }

func (n *Node) criResidue(ctx context.Context, r Residue) error {
	pods, err := n.runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	for _, p := range pods.GetItems() {
		r.add(KindSandbox, p.GetId())
	}
	containers, err := n.runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return err
	}
	for _, c := range containers.GetContainers() {
		r.add(KindCRI, c.GetMetadata().GetName()+" "+c.GetId())
	}
	return nil
}

func (n *Node) containerdResidue(ctx context.Context, ns string, r Residue) error {
	containers, err := n.containerd.ContainerService().List(ctx)
	if err != nil {
		return err
	}
	for _, c := range containers {
		r.add(KindContainer, ns+"/"+c.ID)
	}
	leases, err := n.containerd.LeasesService().List(ctx)
	if err != nil {
		return err
	}
	for _, l := range leases {
		r.add(KindLease, ns+"/"+l.ID)
	}
	return n.containerd.SnapshotService(snapshotter).Walk(ctx, func(_ context.Context, s snapshots.Info) error {
		r.add(KindSnapshot, ns+"/"+s.Name)
		return nil
	})
}

// hostResidue looks at processes, mounts and directories.
func (n *Node) hostResidue(r Residue) error {
	err := eachProcess(func(pid int) {
		if id := n.record.shimID(pid); id != "" && !isZombie(pid) {
			r.add(KindShim, id)
		}
	})
	if err != nil {
		return err
	}
	mounts, err := n.record.mounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		r.add(KindMount, strings.TrimPrefix(m, n.Dir()+"/"))
	}
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	for _, root := range roots {
		// pod<uid>, and the containers in it; below kubelet's kubepods/QOS, too
		top := filepath.Join(root, n.Cgroup())
		r.addDirs(KindCgroup, top, "*", "*/*", "*/*/*", "*/*/*/*")
	}
	r.addDirs(KindLog, n.PodLogs(), "*", "*/*")
	r.addDirs(KindTermination, filepath.Join(n.KubeletRoot(), "pods"), "*/containers/*")
	return nil
}

// addDirs adds the directories under top that match the patterns, by their
// names relative to it.
func (r Residue) addDirs(kind, top string, patterns ...string) {
	for _, pattern := range patterns {
		found, _ := filepath.Glob(filepath.Join(top, pattern))
		for _, dir := range found {
			if info, err := os.Stat(dir); err == nil && info.IsDir() {
				r.add(kind, strings.TrimPrefix(dir, top+"/"))
			}
		}
	}
}

// shimID returns the ID that a shim of the node was started for, which is that
// of the sandbox for a pod, or "" if pid is no such process.
func (r record) shimID(pid int) string {
	argv := cmdline(pid)
	if len(argv) == 0 || !strings.HasPrefix(filepath.Base(argv[0]), "containerd-shim") || !r.namesDir(pid) {
		return ""
	}
	for i := range len(argv) - 1 {
		if argv[i] == "-id" {
			return argv[i+1]
		}
	}
	return fmt.Sprintf("pid %d", pid)
}
