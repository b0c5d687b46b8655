package kubelet

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/porthole-project/porthole/test/testenv"
)

// namespace is that of all pods here.
const namespace = "shop"

// A subject is a static pod and how Porthole opens it.
type subject struct {
	name  string
	spec  corev1.PodSpec
	flags []string // of porthole debug
	// crashes says that the pod's container ends again and again: its restarts
	// are kubelet's business, and there is no process to share.
	crashes bool
}

// pod is the manifest. Kubelet adds the node's name to that of the pod.
func (s subject) pod() *corev1.Pod {
	spec := s.spec.DeepCopy()
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			list[i].ImagePullPolicy = corev1.PullNever
		}
	}
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: s.name, Namespace: namespace, Labels: map[string]string{"app": s.name}},
		Spec:       *spec,
	}
}

// subjects is the table of pods: every kind that a debug container could upset
// kubelet about.
func subjects() []subject {
	return []subject{
		{name: "plain", spec: plainSpec()},
		{name: "hardened", spec: hardenedSpec(), flags: []string{"--profile=restricted"}},
		{name: "hostns", spec: corev1.PodSpec{HostNetwork: true, HostPID: true, HostIPC: true, Containers: []corev1.Container{idle("app")}}},
		{name: "sharepid", spec: corev1.PodSpec{ShareProcessNamespace: ptr(true), Containers: []corev1.Container{idle("app"), idle("second")}}, flags: []string{"--target=app"}},
		{name: "userns", spec: corev1.PodSpec{HostUsers: ptr(false), Containers: []corev1.Container{idle("app")}}},
		{name: "privileged", spec: privilegedSpec(), flags: []string{"--profile=sysadmin"}},
		{name: "volumes", spec: volumesSpec()},
		{name: "sidecar", spec: sidecarSpec(), flags: []string{"--target=helper"}},
		{name: "guaranteed", spec: guaranteedSpec()},
		{name: "crashing", spec: crashingSpec(), flags: []string{"--target="}, crashes: true},
	}
}

// idle is a container that waits to be told to end.
func idle(name string) corev1.Container {
	return corev1.Container{Name: name, Image: testenv.ImageApp, Args: []string{"pause"}}
}

// plainSpec has a probe, because kubelet kills by it.
func plainSpec() corev1.PodSpec {
	c := corev1.Container{Name: "app", Image: testenv.ImageApp}
	c.LivenessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/app", "exit", "0"}}},
		PeriodSeconds: 2, TimeoutSeconds: 5,
	}
	return corev1.PodSpec{Containers: []corev1.Container{c}}
}

func hardenedSpec() corev1.PodSpec {
	c := idle("app")
	c.SecurityContext = &corev1.SecurityContext{
		ReadOnlyRootFilesystem:   ptr(true),
		AllowPrivilegeEscalation: ptr(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	return corev1.PodSpec{
		Containers: []corev1.Container{c},
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr(true), RunAsUser: ptr[int64](1000), RunAsGroup: ptr[int64](1000), FSGroup: ptr[int64](2000),
			SupplementalGroups: []int64{3000},
			SeccompProfile:     &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
}

func privilegedSpec() corev1.PodSpec {
	c := idle("app")
	c.SecurityContext = &corev1.SecurityContext{Privileged: ptr(true)}
	return corev1.PodSpec{Containers: []corev1.Container{c}}
}

// volumesSpec has every kind of volume that kubelet makes without an API server
// (a projected one it does not, whatever is projected), and names in its hosts
// file.
func volumesSpec() corev1.PodSpec {
	labels := []corev1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}
	c := idle("app")
	var volumes []corev1.Volume
	for name, source := range map[string]corev1.VolumeSource{
		"disk":     {EmptyDir: &corev1.EmptyDirVolumeSource{}},
		"memory":   {EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: ptr(resource.MustParse("8Mi"))}},
		"host":     {HostPath: &corev1.HostPathVolumeSource{Path: "/usr/share", Type: ptr(corev1.HostPathDirectory)}},
		"downward": {DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: labels}},
	} {
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: source})
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: "/volumes/" + name, ReadOnly: name == "host"})
	}
	return corev1.PodSpec{
		Containers: []corev1.Container{c}, Volumes: volumes,
		HostAliases: []corev1.HostAlias{{IP: "192.0.2.1", Hostnames: []string{"shop.example"}}},
	}
}

// sidecarSpec has an init container that has ended and one that stays.
func sidecarSpec() corev1.PodSpec {
	first, helper := idle("first"), idle("helper")
	first.Args = []string{"exit", "0"}
	helper.RestartPolicy = ptr(corev1.ContainerRestartPolicyAlways)
	return corev1.PodSpec{InitContainers: []corev1.Container{first, helper}, Containers: []corev1.Container{idle("app")}}
}

func guaranteedSpec() corev1.PodSpec {
	c := idle("app")
	list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi")}
	c.Resources = corev1.ResourceRequirements{Requests: list, Limits: list}
	return corev1.PodSpec{Containers: []corev1.Container{c}}
}

func crashingSpec() corev1.PodSpec {
	c := idle("app")
	c.Args = []string{"exit", "3"}
	return corev1.PodSpec{Containers: []corev1.Container{c}}
}

func ptr[T any](v T) *T { return &v }
