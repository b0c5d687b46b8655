package ephemeral

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ports is validateContainerPorts: the API checks also what it refuses.
func (c *checker) ports(ports []corev1.ContainerPort, at *field.Path) {
	names := map[string]bool{}
	for i, p := range ports {
		at := at.Index(i)
		if name := at.Child("name"); p.Name != "" {
			bad := validation.IsValidPortName(p.Name)
			c.invalid(name, p.Name, bad...)
			if names[p.Name] {
				c.add(field.Duplicate(name, p.Name))
			}
			names[p.Name] = len(bad) == 0
		}
		if number := at.Child("containerPort"); !c.required(number, p.ContainerPort == 0) {
			c.invalid(number, p.ContainerPort, validation.IsValidPortNum(int(p.ContainerPort))...)
		}
		if p.HostPort != 0 {
			c.invalid(at.Child("hostPort"), p.HostPort, validation.IsValidPortNum(int(p.HostPort))...)
		}
		if protocol := at.Child("protocol"); !c.required(protocol, p.Protocol == "") {
			oneOf(c, protocol, p.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)
		}
	}
}

// resizePolicy is validateResizePolicy, without what depends on the pod's
// restartPolicy.
func (c *checker) resizePolicy(policies []corev1.ContainerResizePolicy, at *field.Path) {
	seen := map[corev1.ResourceName]bool{}
	for i, p := range policies {
		if seen[p.ResourceName] {
			c.add(field.Duplicate(at.Index(i), p.ResourceName))
		}
		seen[p.ResourceName] = true
		if !c.required(at, p.ResourceName == "") {
			oneOf(c, at, p.ResourceName, corev1.ResourceCPU, corev1.ResourceMemory)
		}
		if !c.required(at, p.RestartPolicy == "") {
			oneOf(c, at, p.RestartPolicy, corev1.NotRequired, corev1.RestartContainer)
		}
	}
}

// own is what the API server accepts and Porthole does not: what no process or
// mount could be given, what kubelet refuses later, and ways out of the container
// that runtimes have left open.
func (c *checker) own(spec *corev1.EphemeralContainer, at *field.Path) {
	if spec.Image != "" && spec.Image == strings.TrimSpace(spec.Image) {
		if why := badImage(spec.Image); why != "" {
			c.invalid(at.Child("image"), spec.Image, why)
		}
	}
	for i, text := range spec.Command {
		c.noNUL(at.Child("command").Index(i), text)
	}
	for i, text := range spec.Args {
		c.noNUL(at.Child("args").Index(i), text)
	}
	for i, e := range spec.Env {
		if strings.ContainsRune(e.Value, 0) {
			// The value may be a secret.
			c.invalid(at.Child("env").Index(i).Child("value"), field.OmitValueType{}, noNUL)
		}
	}
	c.noNUL(at.Child("workingDir"), spec.WorkingDir)
	if dir := path.Clean("/" + spec.WorkingDir); underProc(dir) {
		// CVE-2024-21626: a working directory under /proc could be a leaked
		// descriptor of the host.
		c.forbidden(at.Child("workingDir"), "must not be under /proc")
	}
	for i, m := range spec.VolumeMounts {
		c.mountTarget(m.MountPath, at.Child("volumeMounts").Index(i).Child("mountPath"))
	}
	for i, d := range spec.VolumeDevices {
		at := at.Child("volumeDevices").Index(i).Child("devicePath")
		c.noNUL(at, d.DevicePath)
		if d.DevicePath != "" && !path.IsAbs(d.DevicePath) {
			// Kubelet's word (makeBlockVolumes): for mounts it makes the path absolute.
			c.invalid(at, d.DevicePath, "error DevicePath `"+d.DevicePath+"` must be an absolute path")
		}
	}
	c.mountTarget(spec.TerminationMessagePath, at.Child("terminationMessagePath"))
}

// mountTarget refuses to cover the image itself or what the kernel shows: runc
// mounts nothing over /proc since CVE-2019-16884, other runtimes may.
func (c *checker) mountTarget(target string, at *field.Path) {
	c.noNUL(at, target)
	switch dir := path.Clean("/" + target); {
	case target == "":
	case dir == "/":
		c.forbidden(at, "must not be the root directory")
	case underProc(dir):
		c.forbidden(at, "must not be under /proc")
	}
}

// underProc tells whether a clean path is /proc or in it.
func underProc(dir string) bool { return dir == "/proc" || strings.HasPrefix(dir, "/proc/") }

const noNUL = "a NUL byte cannot be passed to a process"

func (c *checker) noNUL(at *field.Path, text string) {
	if strings.ContainsRune(text, 0) {
		c.invalid(at, text, noNUL)
	}
}
