package poddir

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

// A Volume is a prepared volume of a pod, as kubelet hands it to the runtime
// (kubelet_pods.go:makeMounts).
type Volume struct {
	// Path is on the host.
	Path string
	// ReadOnly is set if no container may write to it, whatever its mount says
	// (the plugin's Attributes.ReadOnly).
	ReadOnly bool
	// Relabel is set if the runtime is to set its SELinux label (the plugin's
	// Attributes.Managed and SELinuxRelabel), which kubelet asks for only where
	// SELinux is enabled (kuberuntime_container.go:makeMounts).
	Relabel bool
}

// ErrImage is for volumes that are images: the runtime mounts them itself, and
// the pod's directory has nothing of them.
var ErrImage = fmt.Errorf("an image volume has no directory, the runtime mounts it by its reference: %w", errdefs.ErrNotImplemented)

// The directories of volume plugins in volumes/: their names, with "/" as "~"
// (pkg/volume/*: GetPath).
const (
	emptyDir    = "kubernetes.io~empty-dir"
	configMap   = "kubernetes.io~configmap"
	secret      = "kubernetes.io~secret"
	projected   = "kubernetes.io~projected"
	downwardAPI = "kubernetes.io~downward-api"
	gitRepo     = "kubernetes.io~git-repo"
	nfs         = "kubernetes.io~nfs"
	iscsi       = "kubernetes.io~iscsi"
	fc          = "kubernetes.io~fc"
	csi         = "kubernetes.io~csi"
)

// neverPersistent are the plugins of which there are no PersistentVolumes.
func neverPersistent() []string {
	return []string{emptyDir, configMap, secret, projected, downwardAPI, gitRepo}
}

// Volume returns the pod's volume of this name. Without a spec (nil) it is the
// one directory of that name, and ErrNotFound for volumes that kubelet names
// otherwise: claims, host paths.
//
// The directory of a claim bears the name of its PersistentVolume, which the
// spec does not tell. It is taken only if the pod has one such volume and
// exactly one directory that no other volume explains.
//
// Errors are [ErrImage] for an image; [errdefs.ErrNotFound] if there is no such
// volume or kubelet has not prepared it; [errdefs.ErrConflict] if it cannot be
// told from others, which are listed; [errdefs.ErrPermissionDenied] if it leads
// into a proc file system; [errdefs.ErrFailedPrecondition] if it is no
// directory or file.
func (d Dir) Volume(spec *corev1.PodSpec, name string) (Volume, error) {
	if err := element("volume", name); err != nil {
		return Volume{}, err
	}
	v, err := d.volume(spec, name)
	if err != nil {
		return Volume{}, fmt.Errorf("volume %q: %w", name, err)
	}
	return v, nil
}

func (d Dir) volume(spec *corev1.PodSpec, name string) (Volume, error) {
	if spec == nil {
		return d.unexplained(name)
	}
	i := slices.IndexFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if i < 0 {
		return Volume{}, fmt.Errorf("the pod has no such volume; it has %s: %w", names(spec.Volumes), errdefs.ErrNotFound)
	}
	source := spec.Volumes[i].VolumeSource
	switch {
	case source.Image != nil:
		return Volume{}, ErrImage
	case source.HostPath != nil:
		return hostPath(source.HostPath.Path)
	case isClaim(source):
		return d.claim(spec, name)
	}
	plugin, readOnly := pluginOf(source)
	if plugin == "" {
		return Volume{}, fmt.Errorf("kubelet has no plugin for its kind any more: %w", errdefs.ErrNotImplemented)
	}
	if err := element("flexVolume driver", plugin); err != nil {
		return Volume{}, err
	}
	root, err := d.open()
	if err != nil {
		return Volume{}, err
	}
	defer root.Close()
	path, err := d.prepared(root, elements(plugin, name)...)
	if err != nil {
		return Volume{}, fmt.Errorf("kubelet has not prepared it: %w", err)
	}
	return volumeAt(path, plugin, readOnly), nil
}

func names(volumes []corev1.Volume) string {
	if len(volumes) == 0 {
		return "none"
	}
	all := make([]string, len(volumes))
	for i, v := range volumes {
		all[i] = v.Name
	}
	return strings.Join(all, ", ")
}

// elements are the path of a volume below the pod's directory
// (kubelet_getters.go:getPodVolumeDir, csi_mounter.go:GetCSIMounterPath).
func elements(plugin, name string) []string {
	path := []string{"volumes", plugin, name}
	if plugin == csi {
		path = append(path, "mount")
	}
	return path
}

// pluginOf returns the plugin of a volume that is named after itself, and
// whether the spec makes it read-only. No source is an emptyDir
// (defaults.go:SetDefaults_Volume); for one that kubelet has no plugin for, or
// names otherwise, the plugin is empty.
func pluginOf(s corev1.VolumeSource) (plugin string, readOnly bool) {
	switch {
	case s.ConfigMap != nil:
		return configMap, true
	case s.Secret != nil:
		return secret, true
	case s.Projected != nil:
		return projected, true
	case s.DownwardAPI != nil:
		return downwardAPI, true
	case s.GitRepo != nil:
		return gitRepo, false
	case s.NFS != nil:
		return nfs, s.NFS.ReadOnly
	case s.ISCSI != nil:
		return iscsi, s.ISCSI.ReadOnly
	case s.FC != nil:
		return fc, s.FC.ReadOnly
	case s.CSI != nil:
		return csi, s.CSI.ReadOnly != nil && *s.CSI.ReadOnly
	case s.FlexVolume != nil:
		return strings.ReplaceAll(s.FlexVolume.Driver, "/", "~"), s.FlexVolume.ReadOnly
	case s.EmptyDir != nil || s == corev1.VolumeSource{}:
		return emptyDir, false
	}
	return "", false
}

// volumeAt adds what the plugin says of its volumes (pkg/volume/*:
// GetAttributes).
func volumeAt(path, plugin string, readOnly bool) Volume {
	v := Volume{Path: path, ReadOnly: readOnly}
	switch plugin {
	case configMap, secret, projected, downwardAPI:
		v.ReadOnly, v.Relabel = true, true
	case emptyDir, gitRepo:
		v.Relabel = true
	case nfs:
	case csi:
		// csi_mounter.go:SetUpAt asks the mount whether it can be labelled.
		v.Relabel = !readOnly && slices.Contains(mountOptions(path), "seclabel")
	case iscsi, fc:
		// Not if it was mounted with a label of its own, as a whole.
		v.Relabel = !readOnly && !slices.ContainsFunc(mountOptions(path), func(o string) bool { return strings.HasPrefix(o, "context=") })
	default: // local volumes, and flexVolumes unless their driver says otherwise
		v.Relabel = !readOnly
	}
	return v
}

// hostPath hands out the path as the pod's author wrote it, as kubelet does
// (hostpath/host_path.go), if it exists and does not lead into /proc.
func hostPath(path string) (Volume, error) {
	if !filepath.IsAbs(path) || slices.Contains(strings.Split(path, "/"), "..") {
		return Volume{}, fmt.Errorf("host path %q is not absolute or has .. in it: %w", path, errdefs.ErrInvalidArgument)
	}
	if err := OutsideProc(path); err != nil {
		return Volume{}, fmt.Errorf("host path %w", err)
	}
	return Volume{Path: path}, nil
}

// A place is a directory below volumes/, or a link below volumeDevices/.
type place struct{ plugin, name string }

func (p place) String() string { return p.plugin + "/" + p.name }

// unexplained finds a volume by nothing but its name.
func (d Dir) unexplained(name string) (Volume, error) {
	root, err := d.open()
	if err != nil {
		return Volume{}, err
	}
	defer root.Close()
	places, err := placesIn(root, "volumes")
	if err != nil {
		return Volume{}, err
	}
	found := slices.DeleteFunc(slices.Clone(places), func(p place) bool { return p.name != name })
	switch len(found) {
	case 0:
		return Volume{}, fmt.Errorf("the pod's spec is not known and %s has no directory of this name; it has %s: %w",
			filepath.Join(d.path, "volumes"), listed(places), errdefs.ErrNotFound)
	case 1:
	default:
		return Volume{}, fmt.Errorf("the pod's spec is not known and several directories have this name: %s: %w", listed(found), errdefs.ErrConflict)
	}
	path, err := d.prepared(root, elements(found[0].plugin, name)...)
	if err != nil {
		return Volume{}, err
	}
	return volumeAt(path, found[0].plugin, false), nil
}

// placesIn lists PLUGIN/NAME below a directory of the pod's, in order.
func placesIn(root *os.Root, dir string) ([]place, error) {
	plugins, err := list(root, dir)
	if err != nil {
		return nil, err
	}
	var places []place
	for _, plugin := range plugins {
		if !plugin.IsDir() {
			continue
		}
		entries, err := list(root, filepath.Join(dir, plugin.Name()))
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			places = append(places, place{plugin.Name(), entry.Name()})
		}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Or(cmp.Compare(a.plugin, b.plugin), cmp.Compare(a.name, b.name)) })
	return places, nil
}

func listed(places []place) string {
	if len(places) == 0 {
		return "none"
	}
	all := make([]string, len(places))
	for i, p := range places {
		all[i] = p.String()
	}
	return strings.Join(all, ", ")
}
