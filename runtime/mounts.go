package runtime

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

// hostsPath is where kubelet shows the pod's hosts file in every container.
const hostsPath = "/etc/hosts"

// Sharing says whether the target's mounts are shown in the debug container.
type Sharing string

// The ways to share the target's mounts.
const (
	ShareNothing  Sharing = ""
	ShareAsIs     Sharing = "rw" // as the target has them
	ShareReadOnly Sharing = "ro"
)

// planMounts is kubelet's makeMounts: the volumes, the hosts file, the
// termination log. What is shared of the target comes between.
func planMounts(f *Facts, r Request) (mounts []Mount, skipped []string, err error) {
	spec := &r.Spec
	for _, m := range spec.VolumeMounts {
		mount, err := f.volumeMount(m)
		if err != nil {
			return nil, nil, err
		}
		mounts = append(mounts, mount)
	}
	terminationLog := absolute(spec.TerminationMessagePath)
	if f.Files.EtcHosts != "" && !slices.ContainsFunc(spec.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == hostsPath }) {
		mounts = append(mounts, Mount{HostPath: f.Files.EtcHosts, ContainerPath: hostsPath, Relabel: f.Node.SELinux})
	}
	if r.Share != ShareNothing {
		taken := []string{hostsPath, terminationLog}
		for _, m := range mounts {
			taken = append(taken, path.Clean(m.ContainerPath))
		}
		var shared []Mount
		if shared, skipped, err = f.sharedMounts(r.Share, taken); err != nil {
			return nil, nil, err
		}
		mounts = append(mounts, shared...)
	}
	if f.Files.TerminationLog != "" {
		mounts = append(mounts, Mount{HostPath: f.Files.TerminationLog, ContainerPath: terminationLog, Relabel: f.Node.SELinux})
	}
	return mounts, skipped, nil
}

// absolute is kubelet's MakeAbsolutePath.
func absolute(p string) string {
	if p == "" || path.IsAbs(p) {
		return p
	}
	return "/" + p
}

func (f *Facts) volumeMount(m corev1.VolumeMount) (Mount, error) {
	out := Mount{ContainerPath: absolute(m.MountPath), ReadOnly: m.ReadOnly, Options: m.BindMountOptions}
	if m.MountPropagation != nil && *m.MountPropagation != corev1.MountPropagationNone {
		out.Propagation = *m.MountPropagation
	}
	if err := f.recursive(m, &out); err != nil {
		return out, err
	}
	v, known := f.Files.Volumes[m.Name]
	if known && v.Err == nil {
		out.HostPath, out.Image = v.HostPath, v.Image
		out.ReadOnly = out.ReadOnly || v.ReadOnly || v.Image != nil
		out.Relabel = v.Relabel && f.Node.SELinux
		return out, nil
	}
	if from := f.siblingMount(m.Name); from != nil {
		// Another container has the volume: it is where that one has it.
		out.HostPath, out.Image = from.HostPath, from.Image
		out.Relabel = from.Relabel
		out.ReadOnly = out.ReadOnly || f.readOnlyVolume(m.Name)
		return out, nil
	}
	err := v.Err
	if err == nil {
		err = fmt.Errorf("it is not among the pod's volumes on this node: %w", errdefs.ErrNotFound)
	}
	return out, fmt.Errorf("cannot find volume %q to mount into container: %w", m.Name, err)
}

// recursive is kubelet's resolveRecursiveReadOnly.
func (f *Facts) recursive(m corev1.VolumeMount, out *Mount) error {
	if m.RecursiveReadOnly == nil {
		return nil
	}
	switch *m.RecursiveReadOnly {
	case corev1.RecursiveReadOnlyIfPossible:
		out.RecursiveReadOnly = f.Node.RecursiveReadOnly
	case corev1.RecursiveReadOnlyEnabled:
		if !f.Node.RecursiveReadOnly {
			return fmt.Errorf("volume %q requested recursive read-only mode, but it is not supported by the runtime: %w", m.Name, errdefs.ErrFailedPrecondition)
		}
		out.RecursiveReadOnly = true
	}
	return nil
}

// siblingMount finds a volume where the target, or the neighbour, has mounted
// all of it.
func (f *Facts) siblingMount(volume string) *Mount {
	t, c := f.siblingSpec()
	if c == nil {
		return nil
	}
	for _, m := range c.VolumeMounts {
		if m.Name != volume || m.SubPath != "" || m.SubPathExpr != "" {
			continue
		}
		if i := slices.IndexFunc(t.Mounts, func(have Mount) bool { return have.ContainerPath == absolute(m.MountPath) }); i >= 0 {
			return &t.Mounts[i]
		}
	}
	return nil
}

// readOnlyVolume reports whether a volume is read-only in itself, as far as the
// pod's spec says (the plugins' attributes).
func (f *Facts) readOnlyVolume(name string) bool {
	i := slices.IndexFunc(f.Spec.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if i < 0 {
		return false
	}
	v := &f.Spec.Spec.Volumes[i].VolumeSource
	return v.ConfigMap != nil || v.Secret != nil || v.Projected != nil || v.DownwardAPI != nil || v.Image != nil ||
		v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ReadOnly || v.CSI != nil && isTrue(v.CSI.ReadOnly)
}

// planDevices is kubelet's makeBlockVolumes. Devices that plugins gave to the
// target are not the pod's and are not given to another container of it.
func planDevices(f *Facts, spec *corev1.EphemeralContainer) ([]Device, error) {
	var out []Device
	for _, d := range spec.VolumeDevices {
		if !path.IsAbs(d.DevicePath) {
			return nil, fmt.Errorf("error DevicePath `%s` must be an absolute path: %w", d.DevicePath, errdefs.ErrInvalidArgument)
		}
		v, known := f.Files.Devices[d.Name]
		device := Device{HostPath: v.HostPath, ContainerPath: d.DevicePath, Permissions: "mrw"}
		if v.ReadOnly {
			device.Permissions = "r"
		}
		if !known || v.Err != nil {
			from := f.siblingDevice(d.Name)
			if from == nil {
				return nil, fmt.Errorf("cannot find volume %q to pass into container %q: %w", d.Name, spec.Name, orNotFound(v.Err))
			}
			device.HostPath, device.Permissions = from.HostPath, from.Permissions
		}
		out = append(out, device)
	}
	return out, nil
}

func orNotFound(err error) error {
	if err == nil {
		return errdefs.ErrNotFound
	}
	return err
}

func (f *Facts) siblingDevice(volume string) *Device {
	t, c := f.siblingSpec()
	if c == nil {
		return nil
	}
	for _, d := range c.VolumeDevices {
		if i := slices.IndexFunc(t.Devices, func(have Device) bool { return d.Name == volume && have.ContainerPath == d.DevicePath }); i >= 0 {
			return &t.Devices[i]
		}
	}
	return nil
}

// neverShared are paths at which a container must have its own.
var neverShared = []string{"/proc", "/sys", "/dev", "/etc/resolv.conf", "/etc/hostname"}

// sharedMounts are the target's mounts at the same paths, subPaths included,
// but for its termination log and for paths that are taken. skipped names those
// that cannot be shared.
func (f *Facts) sharedMounts(how Sharing, taken []string) (shared []Mount, skipped []string, err error) {
	if f.Target == nil {
		return nil, nil, fmt.Errorf("there is no target whose volumes could be shared; name one with --target: %w", errdefs.ErrInvalidArgument)
	}
	own := "/pods/" + f.Pod.UID + "/containers/" + f.Target.Name + "/"
	for _, m := range f.Target.Mounts {
		at, host := path.Clean(m.ContainerPath), path.Clean(m.HostPath)
		switch {
		case slices.Contains(taken, at) || strings.Contains(m.HostPath, own):
			continue
		case slices.Contains(neverShared, at) || m.Image == nil && (host == "/proc" || strings.HasPrefix(host, "/proc/")):
			skipped = append(skipped, at)
			continue
		}
		if how == ShareReadOnly {
			m.ReadOnly = true
		}
		// Bidirectional needs a privileged container; what is mounted on the host
		// later still arrives.
		if m.Propagation == corev1.MountPropagationBidirectional {
			m.Propagation = corev1.MountPropagationHostToContainer
		}
		if m.RecursiveReadOnly {
			m.Propagation = ""
		}
		shared = append(shared, m)
	}
	return shared, skipped, nil
}
