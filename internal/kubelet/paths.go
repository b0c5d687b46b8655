package kubelet

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
)

// Paths is where kubelet keeps things on this node. Every path is absolute and
// as kubelet and the runtime see it, not under [Options].Host.
type Paths struct {
	// Root is --root-dir: pods/UID/… lies below it.
	Root string
	// PodLogs is podLogsDir: NAMESPACE_NAME_UID/… lies below it.
	PodLogs string
	// Manifests is staticPodPath, a directory or a single file.
	Manifests string
	// Settings is what else the running kubelet was told.
	Settings Settings
	Source   Sources
	// Notes says what was seen and not used, for a verbose mode.
	Notes []string
}

// Sources says for each path where it comes from.
type Sources struct {
	Root, PodLogs, Manifests Source
}

// From is the kind of a [Source].
type From string

// Where a path can come from, best first.
const (
	Override From = "override"
	Target   From = "target"
	Process  From = "process"
	Default  From = "default"
)

// Source is where one path comes from.
type Source struct {
	From From
	// Detail is for people: the mount, the flag, the file.
	Detail string
}

// String returns the source as `process: kubelet 812, flag --root-dir`.
func (s Source) String() string {
	if s.Detail == "" {
		return string(s.From)
	}
	return string(s.From) + ": " + s.Detail
}

// PodDir returns ROOT/pods/UID. A uid that is not a plain path element is
// [errdefs.ErrInvalidArgument], as it is for the other methods: it comes from
// labels, which are anybody's.
func (p Paths) PodDir(uid string) (string, error) {
	if err := element("pod uid", uid); err != nil {
		return "", err
	}
	return filepath.Join(p.Root, "pods", uid), nil
}

// EtcHosts returns the file that kubelet mounts as /etc/hosts into every
// container of the pod.
func (p Paths) EtcHosts(uid string) (string, error) {
	dir, err := p.PodDir(uid)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "etc-hosts"), nil
}

// ContainerDir returns the directory with the termination logs of the pod's
// container of this name.
func (p Paths) ContainerDir(uid, name string) (string, error) {
	dir, err := p.PodDir(uid)
	if err != nil {
		return "", err
	}
	if err := element("container name", name); err != nil {
		return "", err
	}
	return filepath.Join(dir, "containers", name), nil
}

// element refuses what would leave the directory it is joined to.
func element(what, s string) error {
	if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/\\\x00") {
		return fmt.Errorf("%s %q: not a plain name: %w", what, s, errdefs.ErrInvalidArgument)
	}
	return nil
}
