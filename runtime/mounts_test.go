package runtime

import (
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

// volumes is a pod with an emptyDir, a configMap and a claim, and a target that
// has the claim.
func volumes() (*Facts, Request) {
	f, r := goodFacts(), goodRequest()
	f.Spec = &corev1.Pod{Spec: corev1.PodSpec{
		Volumes: []corev1.Volume{
			{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "cfg", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}},
			{Name: "disk", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ReadOnly: true}}},
			{Name: "block", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}}},
		},
		Containers: []corev1.Container{{
			Name: "app",
			VolumeMounts: []corev1.VolumeMount{
				{Name: "disk", MountPath: "/part", SubPath: "part"}, {Name: "disk", MountPath: "var/disk"},
			},
			VolumeDevices: []corev1.VolumeDevice{{Name: "block", DevicePath: "/dev/xvda"}},
		}},
	}}
	f.Target.Mounts = []Mount{{HostPath: "/k/subpaths/disk/0", ContainerPath: "/part"}, {HostPath: "/k/csi/pv1/mount", ContainerPath: "/var/disk"}}
	f.Target.Devices = []Device{{HostPath: "/k/block/pv2", ContainerPath: "/dev/xvda", Permissions: "r"}}
	f.Files = KubeletFiles{
		EtcHosts: "/k/etc-hosts", TerminationLog: "/k/containers/porthole-x/0a",
		Volumes: map[string]Volume{
			"data": {HostPath: "/k/empty-dir/data", Relabel: true}, "cfg": {HostPath: "/k/configmap/cfg", ReadOnly: true, Relabel: true},
			"disk": {Err: errdefs.ErrConflict},
		},
		Devices: map[string]Volume{"block": {Err: errdefs.ErrConflict}},
	}
	return f, r
}

func TestVolumeMounts(t *testing.T) {
	f, r := volumes()
	propagate, recursive := corev1.MountPropagationHostToContainer, corev1.RecursiveReadOnlyIfPossible
	f.Node.SELinux, f.Node.RecursiveReadOnly = true, true
	r.Spec.VolumeMounts = []corev1.VolumeMount{
		{Name: "data", MountPath: "data", MountPropagation: &propagate},
		{Name: "data", MountPath: "/etc/hosts", ReadOnly: true, RecursiveReadOnly: &recursive},
		{Name: "cfg", MountPath: "/cfg"},
		{Name: "disk", MountPath: "/disk"},
	}
	r.Spec.VolumeDevices = []corev1.VolumeDevice{{Name: "block", DevicePath: "/dev/sdx"}}
	p := mustPlan(t, f, r)
	want := []Mount{
		{HostPath: "/k/empty-dir/data", ContainerPath: "/data", Relabel: true, Propagation: propagate},
		{HostPath: "/k/empty-dir/data", ContainerPath: "/etc/hosts", Relabel: true, ReadOnly: true, RecursiveReadOnly: true}, // in the place of kubelet's
		{HostPath: "/k/configmap/cfg", ContainerPath: "/cfg", ReadOnly: true, Relabel: true},
		{HostPath: "/k/csi/pv1/mount", ContainerPath: "/disk", ReadOnly: true}, // where the target has all of it
		{HostPath: "/k/containers/porthole-x/0a", ContainerPath: "/dev/termination-log", Relabel: true},
	}
	if !reflect.DeepEqual(p.Mounts, want) {
		t.Errorf("got  %+v\nwant %+v", p.Mounts, want)
	}
	if want := []Device{{"/k/block/pv2", "/dev/sdx", "r"}}; !reflect.DeepEqual(p.Devices, want) {
		t.Errorf("devices %+v, want %+v", p.Devices, want)
	}
	f.Files.Devices["block"] = Volume{HostPath: "/k/block/pv3"}
	if got := mustPlan(t, f, r).Devices; got[0].HostPath != "/k/block/pv3" || got[0].Permissions != "mrw" {
		t.Errorf("devices %+v", got)
	}
}

func TestVolumeMountsRefused(t *testing.T) {
	enabled := corev1.RecursiveReadOnlyEnabled
	for what, c := range map[string]struct {
		change func(*Facts, *Request)
		says   string
	}{
		"not the pod's": {func(_ *Facts, r *Request) {
			r.Spec.VolumeMounts = []corev1.VolumeMount{{Name: "nope", MountPath: "/x"}, {Name: "data", MountPath: "/x", SubPath: "a"}}
		}, `spec.ephemeralContainers[0].volumeMounts[0].name: Not found: "nope"`},
		"not found on the node": {func(f *Facts, r *Request) {
			f.Target.Mounts = nil
			r.Spec.VolumeMounts = []corev1.VolumeMount{{Name: "disk", MountPath: "/x"}}
		}, `cannot find volume "disk" to mount into container`},
		"only a part of it is mounted": {func(f *Facts, r *Request) {
			f.Target.Mounts = f.Target.Mounts[:1]
			r.Spec.VolumeMounts = []corev1.VolumeMount{{Name: "disk", MountPath: "/x"}}
		}, `cannot find volume "disk"`},
		"no such mode": {func(_ *Facts, r *Request) {
			r.Spec.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/x", ReadOnly: true, RecursiveReadOnly: &enabled}}
		}, "not supported by the runtime"},
		"a device that is nowhere": {func(f *Facts, r *Request) {
			f.Target.Devices = nil
			r.Spec.VolumeDevices = []corev1.VolumeDevice{{Name: "block", DevicePath: "/dev/x"}}
		}, `cannot find volume "block" to pass into container`},
	} {
		f, r := volumes()
		c.change(f, &r)
		if _, err := NewPlan(f, r); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", what, err, c.says)
		}
	}
}

func TestSharedMounts(t *testing.T) {
	f, r := volumes()
	f.Target.Mounts = []Mount{
		{HostPath: "/k/empty-dir/data", ContainerPath: "/data", Propagation: corev1.MountPropagationBidirectional},
		{HostPath: "/k/etc-hosts", ContainerPath: "/etc/hosts"},
		{HostPath: "/k/pods/u1/containers/app/11", ContainerPath: "/tmp/why"},
		{HostPath: "/proc", ContainerPath: "/host/proc"},
		{HostPath: "/run/sandboxes/x/resolv.conf", ContainerPath: "/etc/resolv.conf"},
		{HostPath: "/k/subpaths/disk/0", ContainerPath: "/part/", ReadOnly: true},
		{HostPath: "/k/other", ContainerPath: "/mine"},
	}
	r.Spec.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/mine"}}
	r.Share = ShareAsIs
	want := []Mount{
		{HostPath: "/k/empty-dir/data", ContainerPath: "/mine"},
		{HostPath: "/k/etc-hosts", ContainerPath: "/etc/hosts"},
		{HostPath: "/k/empty-dir/data", ContainerPath: "/data", Propagation: corev1.MountPropagationHostToContainer},
		{HostPath: "/k/subpaths/disk/0", ContainerPath: "/part/", ReadOnly: true},
		{HostPath: "/k/containers/porthole-x/0a", ContainerPath: "/dev/termination-log"},
	}
	p := mustPlan(t, f, r)
	if !reflect.DeepEqual(p.Mounts, want) {
		t.Errorf("got  %+v\nwant %+v", p.Mounts, want)
	}
	if said := strings.Join(p.Warnings, " "); !strings.Contains(said, "/host/proc, /etc/resolv.conf") {
		t.Errorf("what was skipped: %q", said)
	}
	r.Share = ShareReadOnly
	if got := mustPlan(t, f, r).Mounts; !got[2].ReadOnly || got[0].ReadOnly {
		t.Errorf("read-only: %+v", got)
	}
	f.Target = nil
	if _, err := NewPlan(f, r); !errdefs.IsInvalidArgument(err) {
		t.Errorf("no target: %v", err)
	}
}

// A VM or another kernel has no namespaces on the node that could be proved.
func TestForeignKernel(t *testing.T) {
	f := goodFacts()
	f.Sandbox.Kernel = "io.containerd.kata.v2"
	if _, err := NewPlan(f, goodRequest()); !strings.Contains(err.Error(), "kata") || !errdefs.IsNotImplemented(err) {
		t.Error(err)
	}
}

// A name is used once, and what the spec of the pod has is taken, too.
func TestNamesAreUsedOnce(t *testing.T) {
	f, r := goodFacts(), goodRequest()
	f.UsedNames = []string{"other", "porthole-x"}
	if _, err := NewPlan(f, r); !errdefs.IsAlreadyExists(err) {
		t.Errorf("a name of a container that has gone: %v", err)
	}
	f.UsedNames, f.Spec = nil, &corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: "porthole-x"}}}}
	if _, err := NewPlan(f, r); err == nil || !strings.Contains(err.Error(), "Duplicate value") {
		t.Errorf("a name in the pod's spec: %v", err)
	}
	f.Spec.Spec.InitContainers = nil
	f.Containers = append(f.Containers, Container{Name: "porthole-x", State: Exited})
	if _, err := NewPlan(f, r); err == nil || !strings.Contains(err.Error(), "Duplicate value") {
		t.Errorf("a name that only the runtime knows: %v", err)
	}
}

// All errors of a spec are reported at once, in the API's words.
func TestAllErrorsAtOnce(t *testing.T) {
	f, r := volumes()
	r.Spec.Ports = []corev1.ContainerPort{{ContainerPort: 80}}
	r.Spec.Env = []corev1.EnvVar{{Name: "="}}
	r.Spec.TargetContainerName = "nope"
	_, err := NewPlan(f, r)
	if err == nil {
		t.Fatal("planned")
	}
	for _, want := range []string{
		"spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
		"spec.ephemeralContainers[0].env[0].name: Invalid value",
		`spec.ephemeralContainers[0].targetContainerName: Not found: "nope"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	if _, err := NewPlan(goodFacts(), Request{Spec: corev1.EphemeralContainer{}}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("nothing asked for: %v", err)
	}
}
