package poddir

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

// dataLimit is far more than CSI's plugin writes of one volume.
const dataLimit = 64 << 10

// isClaim reports whether kubelet names the volume after a PersistentVolume:
// claims, generic ephemeral volumes, and the sources of old that kubelet
// translates to one of a CSI driver (populator: createVolumeSpec, IsMigratable).
func isClaim(s corev1.VolumeSource) bool {
	return s.PersistentVolumeClaim != nil || s.Ephemeral != nil || s.AWSElasticBlockStore != nil || s.GCEPersistentDisk != nil ||
		s.AzureDisk != nil || s.AzureFile != nil || s.Cinder != nil || s.VsphereVolume != nil || s.PortworxVolume != nil
}

// readOnlyClaim: a PersistentVolume is read-only by its claim in the pod.
func readOnlyClaim(s corev1.VolumeSource) bool {
	switch {
	case s.PersistentVolumeClaim != nil:
		return s.PersistentVolumeClaim.ReadOnly
	case s.AWSElasticBlockStore != nil:
		return s.AWSElasticBlockStore.ReadOnly
	case s.GCEPersistentDisk != nil:
		return s.GCEPersistentDisk.ReadOnly
	case s.AzureDisk != nil:
		return s.AzureDisk.ReadOnly != nil && *s.AzureDisk.ReadOnly
	case s.AzureFile != nil:
		return s.AzureFile.ReadOnly
	case s.Cinder != nil:
		return s.Cinder.ReadOnly
	case s.PortworxVolume != nil:
		return s.PortworxVolume.ReadOnly
	}
	return false
}

// claim finds the directory of a claim by elimination.
func (d Dir) claim(spec *corev1.PodSpec, name string) (Volume, error) {
	root, err := d.open()
	if err != nil {
		return Volume{}, err
	}
	defer root.Close()
	places, err := placesIn(root, "volumes")
	if err != nil {
		return Volume{}, err
	}
	explained := make(map[place]bool)
	for _, v := range spec.Volumes {
		if !isClaim(v.VolumeSource) && v.HostPath == nil && v.Image == nil {
			plugin, _ := pluginOf(v.VolumeSource)
			explained[place{plugin, v.Name}] = true
		}
	}
	candidates := slices.DeleteFunc(places, func(p place) bool {
		return explained[p] || slices.Contains(neverPersistent(), p.plugin) || p.plugin == csi && inline(root, p.name)
	})
	blocks := blockVolumes(spec)
	p, err := eliminate(candidates, claims(spec, func(name string) bool { return !blocks[name] }), name)
	if err != nil {
		return Volume{}, err
	}
	path, err := d.prepared(root, elements(p.plugin, p.name)...)
	if err != nil {
		return Volume{}, fmt.Errorf("kubelet has not prepared it: %w", err)
	}
	return volumeAt(path, p.plugin, readOnlyClaim(source(spec, name))), nil
}

func source(spec *corev1.PodSpec, name string) corev1.VolumeSource {
	for _, v := range spec.Volumes {
		if v.Name == name {
			return v.VolumeSource
		}
	}
	return corev1.VolumeSource{}
}

// claims names the volumes that could lie in the candidates.
func claims(spec *corev1.PodSpec, counts func(name string) bool) []string {
	var all []string
	for _, v := range spec.Volumes {
		if isClaim(v.VolumeSource) && counts(v.Name) {
			all = append(all, v.Name)
		}
	}
	return all
}

// blockVolumes are used as devices: they have no directory.
func blockVolumes(spec *corev1.PodSpec) map[string]bool {
	blocks := make(map[string]bool)
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, device := range c.VolumeDevices {
			blocks[device.Name] = true
		}
	}
	for _, c := range spec.EphemeralContainers {
		for _, device := range c.VolumeDevices {
			blocks[device.Name] = true
		}
	}
	return blocks
}

// eliminate needs one claim and one candidate. With two claims even a single
// candidate proves nothing: a PersistentVolume of a host path has no directory.
func eliminate(candidates []place, claims []string, name string) (place, error) {
	switch {
	case len(candidates) == 0:
		return place{}, fmt.Errorf("it is a claim, and the pod's directory has nothing of one; a PersistentVolume that is a host path has none, "+
			"see the mounts of a container that has it: %w", errdefs.ErrNotFound)
	case len(claims) != 1 || claims[0] != name || len(candidates) != 1:
		return place{}, fmt.Errorf("the directory of a claim is named after its PersistentVolume, which the node is not told; "+
			"the claims are %q and the directories %s; see the mounts of a container that has it: %w", claims, listed(candidates), errdefs.ErrConflict)
	}
	return candidates[0], nil
}

// inline reports whether a CSI volume is part of the pod's spec and not a
// PersistentVolume, by what kubelet wrote beside it (csi_mounter.go:SetUpAt).
func inline(root *os.Root, name string) bool {
	text, err := read(root, filepath.Join("volumes", csi, name, "vol_data.json"), dataLimit)
	if err != nil {
		return false
	}
	var data struct {
		Mode string `json:"volumeLifecycleMode"`
	}
	return json.Unmarshal(text, &data) == nil && data.Mode == "Ephemeral"
}

// A Device is a prepared block volume of a pod.
type Device struct {
	// Path is the link to the device that kubelet hands to the runtime, which
	// follows it.
	Path string
	// ReadOnly is set if no container may write to it: its permissions are "r",
	// else "mrw" (kubelet_pods.go:makeBlockVolumes).
	ReadOnly bool
}

// Device returns the pod's volume of this name as a block device, by the link
// volumeDevices/PLUGIN/PV. What is said of claims at [Dir.Volume] holds here,
// too; only claims can be devices. Errors are as there.
func (d Dir) Device(spec *corev1.PodSpec, name string) (Device, error) {
	if err := element("volume", name); err != nil {
		return Device{}, err
	}
	device, err := d.device(spec, name)
	if err != nil {
		return Device{}, fmt.Errorf("volume %q as a device: %w", name, err)
	}
	return device, nil
}

func (d Dir) device(spec *corev1.PodSpec, name string) (Device, error) {
	if spec == nil {
		return Device{}, fmt.Errorf("the pod's spec is not known, and a device is named after its PersistentVolume: %w", errdefs.ErrNotFound)
	}
	volume := source(spec, name)
	if !isClaim(volume) {
		return Device{}, fmt.Errorf("the pod has no claim of this name; it has the volumes %s: %w", names(spec.Volumes), errdefs.ErrNotFound)
	}
	root, err := d.open()
	if err != nil {
		return Device{}, err
	}
	defer root.Close()
	candidates, err := placesIn(root, "volumeDevices")
	if err != nil {
		return Device{}, err
	}
	blocks := blockVolumes(spec)
	p, err := eliminate(candidates, claims(spec, func(n string) bool { return n == name || blocks[n] }), name)
	if err != nil {
		return Device{}, err
	}
	path := filepath.Join(d.path, "volumeDevices", p.plugin, p.name)
	if info, err := os.Lstat(path); err != nil {
		return Device{}, classed(err)
	} else if info.Mode()&fs.ModeSymlink == 0 {
		return Device{}, fmt.Errorf("%s is %s, and kubelet makes a link: %w", path, describe(info.Mode()), errdefs.ErrFailedPrecondition)
	}
	if err := OutsideProc(path); err != nil {
		return Device{}, err
	}
	if info, err := os.Stat(path); err != nil {
		return Device{}, classed(err)
	} else if info.Mode().Type() != fs.ModeDevice {
		return Device{}, fmt.Errorf("%s leads to %s, not to a block device: %w", path, describe(info.Mode()), errdefs.ErrFailedPrecondition)
	}
	return Device{Path: path, ReadOnly: readOnlyClaim(volume)}, nil
}
