package ephemeral

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// mounts is ValidateVolumeMounts. Some of its paths lack the index; they are the
// API's own and stay so.
func (c *checker) mounts(spec *corev1.EphemeralContainerCommon, at *field.Path) {
	seen := map[string]bool{}
	for i, m := range spec.VolumeMounts {
		name, target := at.Index(i).Child("name"), at.Index(i).Child("mountPath")
		c.required(name, m.Name == "")
		if _, ok := c.pod.Volumes[m.Name]; !ok && c.pod.Known {
			c.add(field.NotFound(name, m.Name))
		}
		c.required(target, m.MountPath == "")
		if seen[m.MountPath] {
			c.invalid(target, m.MountPath, "must be unique")
		}
		seen[m.MountPath] = true
		byName, byPath := deviceOverlap(spec.VolumeDevices, m)
		if byName {
			c.invalid(name, m.Name, "must not already exist in volumeDevices")
		}
		if byPath {
			c.invalid(target, m.MountPath, "must not already exist as a path in volumeDevices")
		}
		if m.SubPath != "" {
			c.descending(m.SubPath, at.Child("subPath"))
		}
		if m.SubPathExpr != "" && m.SubPath != "" {
			c.invalid(at.Index(i).Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive")
		}
		if m.SubPathExpr != "" {
			c.descending(m.SubPathExpr, at.Child("subPathExpr"))
		}
		c.propagation(m.MountPropagation, spec.SecurityContext, at.Child("mountPropagation"))
		c.recursiveReadOnly(m, at.Child("recursiveReadOnly"))
		c.bindOptions(m, at.Index(i).Child("bindMountOptions"))
	}
}

// deviceOverlap tells whether the mount has the name or the path of a device. Of
// several devices of one name the API knows the last one's path
// (GetVolumeDeviceMap).
func deviceOverlap(devices []corev1.VolumeDevice, m corev1.VolumeMount) (byName, byPath bool) {
	paths := map[string]string{}
	for _, d := range devices {
		paths[d.Name] = d.DevicePath
	}
	return overlap(paths, m.Name, m.MountPath)
}

func overlap(paths map[string]string, name, path string) (byName, byPath bool) {
	_, byName = paths[name]
	for _, p := range paths {
		byPath = byPath || p == path
	}
	return byName, byPath
}

// propagation is validateMountPropagation.
func (c *checker) propagation(mode *corev1.MountPropagationMode, sc *corev1.SecurityContext, at *field.Path) {
	if mode == nil {
		return
	}
	oneOf(c, at, *mode, corev1.MountPropagationBidirectional, corev1.MountPropagationHostToContainer, corev1.MountPropagationNone)
	if *mode == corev1.MountPropagationBidirectional && (sc == nil || !isTrue(sc.Privileged)) {
		c.forbidden(at, "Bidirectional mount propagation is available only to privileged containers")
	}
}

// recursiveReadOnly is validateMountRecursiveReadOnly.
func (c *checker) recursiveReadOnly(m corev1.VolumeMount, at *field.Path) {
	if m.RecursiveReadOnly == nil {
		return
	}
	mode := *m.RecursiveReadOnly
	oneOf(c, at, mode, corev1.RecursiveReadOnlyDisabled, corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible)
	if mode != corev1.RecursiveReadOnlyEnabled && mode != corev1.RecursiveReadOnlyIfPossible {
		return
	}
	if !m.ReadOnly {
		c.forbidden(at, "may only be specified when readOnly is true")
	}
	if m.MountPropagation != nil && *m.MountPropagation != corev1.MountPropagationNone {
		c.forbidden(at, "may only be specified when mountPropagation is None or not specified")
	}
}

// bindOptions is validateBindMountOptions. An API server without the gate
// VolumeBindMountOptions (alpha in 1.37) drops the field and says nothing; but
// who asks for noexec is to get it or be told.
func (c *checker) bindOptions(m corev1.VolumeMount, at *field.Path) {
	for i, o := range m.BindMountOptions {
		oneOf(c, at.Index(i), o, string(corev1.BindMountOptionNoDev), string(corev1.BindMountOptionNoExec), string(corev1.BindMountOptionNoSUID))
		if slices.Contains(m.BindMountOptions[:i], o) {
			c.add(field.Duplicate(at.Index(i), o))
		}
	}
	if len(m.BindMountOptions) > 0 && c.pod.Known && c.pod.Volumes[m.Name].Image != nil {
		c.invalid(at, m.BindMountOptions, "bindMountOptions may not be used with image volumes")
	}
}

// noSubPaths: the bind mounts behind subPath stay until the pod ends, so that
// ephemeral containers would pile them up.
func (c *checker) noSubPaths(mounts []corev1.VolumeMount, at *field.Path) {
	for i, m := range mounts {
		if m.SubPath != "" {
			c.forbidden(at.Index(i).Child("subPath"), notEphemeral)
		}
		if m.SubPathExpr != "" {
			c.forbidden(at.Index(i).Child("subPathExpr"), notEphemeral)
		}
	}
}

// devices is ValidateVolumeDevices.
func (c *checker) devices(spec *corev1.EphemeralContainerCommon, at *field.Path) {
	mounts, names, paths := map[string]string{}, map[string]bool{}, map[string]bool{}
	for _, m := range spec.VolumeMounts {
		mounts[m.Name] = m.MountPath
	}
	for i, d := range spec.VolumeDevices {
		name, target := at.Index(i).Child("name"), at.Index(i).Child("devicePath")
		c.required(name, d.Name == "")
		if names[d.Name] {
			c.invalid(name, d.Name, "must be unique")
		}
		names[d.Name] = d.Name != ""
		volume, found := c.pod.Volumes[d.Name]
		switch {
		case !c.pod.Known:
		case !found:
			c.add(field.NotFound(name, d.Name))
		case volume.PersistentVolumeClaim == nil && volume.Ephemeral == nil:
			c.invalid(name, d.Name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode")
		}
		c.required(target, d.DevicePath == "")
		if paths[d.DevicePath] {
			c.invalid(target, d.DevicePath, "must be unique")
		}
		if hasBackstep(d.DevicePath) {
			c.invalid(target, d.DevicePath, "can not contain backsteps ('..')")
		} else {
			paths[d.DevicePath] = true
		}
		byName, byPath := overlap(mounts, d.Name, d.DevicePath)
		if byName {
			c.invalid(name, d.Name, "must not already exist in volumeMounts")
		}
		if byPath {
			c.invalid(target, d.DevicePath, "must not already exist as a path in volumeMounts")
		}
	}
}

func hasBackstep(path string) bool { return slices.Contains(strings.Split(path, "/"), "..") }

// noBacksteps is validatePathNoBacksteps.
func (c *checker) noBacksteps(value string, at *field.Path) {
	if hasBackstep(value) {
		c.invalid(at, value, "must not contain '..'")
	}
}

// descending is validateLocalDescendingPath.
func (c *checker) descending(value string, at *field.Path) {
	if path.IsAbs(value) {
		c.invalid(at, value, "must be a relative path")
	}
	c.noBacksteps(value, at)
}
