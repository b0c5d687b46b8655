package kubelet

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/errdefs"
)

// Options is what [Discover] may go by. The zero value looks at this machine.
type Options struct {
	// Root, PodLogs and Manifests override what would be found. Absolute.
	Root, PodLogs, Manifests string
	// Target is what the runtime says about the target, if there is one.
	Target Facts
	// Proc is the proc file system with the node's processes, /proc if empty.
	Proc string
	// Host is where the node's root file system is visible to the caller, / if
	// empty. Only the usual places are looked for in it.
	Host string
}

// The places that kubelet itself has compiled in
// (k8s.io/kubernetes/cmd/kubelet/app/options and pkg/kubelet/apis/config).
const (
	builtinRoot    = "/var/lib/kubelet"
	builtinPodLogs = "/var/log/pods"
)

// usualRoots and usualManifests are where distributions put things, for a node
// whose kubelet is not running: kubeadm, k0s, microk8s, RKE2, k3s.
func usualRoots() []string {
	return []string{builtinRoot, "/var/lib/k0s/kubelet", "/var/snap/microk8s/common/var/lib/kubelet"}
}

func usualManifests() []string {
	return []string{"/etc/kubernetes/manifests", "/var/lib/rancher/rke2/agent/pod-manifests", "/var/lib/rancher/k3s/agent/pod-manifests"}
}

// value is one path and who says so; the zero value says nothing.
type value struct {
	path   string
	source Source
}

// findings is what one source of knowledge tells.
type findings struct {
	root, podLogs, manifests value
	settings                 Settings
	notes                    []string
}

// Discover finds kubelet's paths and settings. It always answers, if need be with the usual
// places; only an override that is not absolute is an error, of class
// [errdefs.ErrInvalidArgument].
func Discover(o Options) (Paths, error) {
	said, err := fromOverride(o)
	if err != nil {
		return Paths{}, err
	}
	target := fromTarget(o.Target)
	process := fromProcesses(cmp.Or(o.Proc, "/proc"))
	usual := fromUsual(cmp.Or(o.Host, "/"))

	root := cmp.Or(said.root, target.root, process.root, usual.root)
	podLogs := cmp.Or(said.podLogs, target.podLogs, process.podLogs, usual.podLogs)
	manifests := cmp.Or(said.manifests, process.manifests, usual.manifests)
	settings := process.settings
	if !settings.NodeName.Known() {
		settings.NodeName = hostName(Source{Default, "host name of this machine"})
	}
	return Paths{
		Root: root.path, PodLogs: podLogs.path, Manifests: manifests.path,
		Settings: settings,
		Source:   Sources{Root: root.source, PodLogs: podLogs.source, Manifests: manifests.source},
		Notes:    slices.Concat(target.notes, process.notes),
	}, nil
}

func fromOverride(o Options) (findings, error) {
	var f findings
	for _, said := range []struct {
		what, path string
		into       *value
	}{
		{"kubelet root", o.Root, &f.root},
		{"pod log directory", o.PodLogs, &f.podLogs},
		{"static pod path", o.Manifests, &f.manifests},
	} {
		if said.path == "" {
			continue
		}
		if !filepath.IsAbs(said.path) {
			return findings{}, fmt.Errorf("%s %q: give an absolute path: %w", said.what, said.path, errdefs.ErrInvalidArgument)
		}
		*said.into = value{filepath.Clean(said.path), Source{From: Override}}
	}
	return f, nil
}

// fromUsual prefers a root that has pods in it: device plugins and CSI drivers
// create /var/lib/kubelet also where kubelet's root is elsewhere.
func fromUsual(host string) findings {
	exists := func(sub string) func(string) bool {
		return func(path string) bool {
			_, err := os.Stat(filepath.Join(host, path, sub))
			return err == nil
		}
	}
	return findings{
		root:      firstUsual(usualRoots(), exists("pods"), exists("")),
		podLogs:   firstUsual([]string{builtinPodLogs}, exists("")),
		manifests: firstUsual(usualManifests(), exists("")),
	}
}

func firstUsual(paths []string, tests ...func(string) bool) value {
	for _, test := range tests {
		if i := slices.IndexFunc(paths, test); i >= 0 {
			return value{paths[i], Source{Default, "usual place, exists"}}
		}
	}
	return value{paths[0], Source{Default, "usual place, not seen here"}}
}
