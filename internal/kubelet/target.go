package kubelet

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Facts is what the runtime knows about a target and kubelet had decided.
type Facts struct {
	// PodUID is the sandbox's io.kubernetes.pod.uid.
	PodUID string
	// MountSources are the host paths of the target's mounts.
	MountSources []string
	// LogDirectory is the sandbox's, PODLOGS/NAMESPACE_NAME_UID.
	LogDirectory string
}

// fromTarget reads kubelet's directories off the paths it made from them
// (kubelet_getters.go, kuberuntime.BuildPodLogsDirectory).
func fromTarget(t Facts) findings {
	var f findings
	if element("pod uid", t.PodUID) != nil {
		return f
	}
	roots := make(map[string]string)
	var order []string
	for _, source := range t.MountSources {
		root, ok := rootOf(source, t.PodUID)
		if _, seen := roots[root]; ok && !seen {
			roots[root] = source
			order = append(order, root)
		}
	}
	switch len(order) {
	case 0:
	case 1:
		f.root = value{order[0], Source{Target, "mount of " + roots[order[0]]}}
	default:
		f.notes = append(f.notes, fmt.Sprintf("the target's mounts name several kubelet roots (%s), none is believed", strings.Join(order, ", ")))
	}
	if dir, base := filepath.Split(t.LogDirectory); clean(t.LogDirectory) && strings.HasSuffix(base, "_"+t.PodUID) {
		f.podLogs = value{filepath.Clean(dir), Source{Target, "log directory " + t.LogDirectory}}
	}
	return f
}

// rootOf cuts ROOT out of ROOT/pods/UID/{etc-hosts,containers/…,volumes/…,volume-subpaths/…}.
func rootOf(source, uid string) (string, bool) {
	root, rest, found := strings.Cut(source, "/pods/"+uid+"/")
	if !found || !clean(source) {
		return "", false
	}
	first, below, _ := strings.Cut(rest, "/")
	if rest != "etc-hosts" && (below == "" || !slices.Contains([]string{"containers", "volumes", "volume-subpaths"}, first)) {
		return "", false
	}
	return cmp.Or(root, "/"), true
}

// clean reports whether the path is absolute and has no element to resolve:
// kubelet makes no others.
func clean(path string) bool {
	return filepath.IsAbs(path) && filepath.Clean(path) == path
}
