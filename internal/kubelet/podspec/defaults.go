package podspec

import (
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Kubelet's own marks on a pod from a file (types/pod_update.go).
const (
	configSource = "kubernetes.io/config.source"
	configHash   = "kubernetes.io/config.hash"
)

// complete makes of a manifest the pod that kubelet runs: its identity
// (config/common.go:applyDefaults), then the API's defaults as far as they
// decide anything about a container (pkg/apis/core/v1/defaults.go). Probes,
// ports and file modes are none of these.
func complete(pod *corev1.Pod, r Running) {
	node := r.NodeName
	if node == "" {
		node = strings.TrimPrefix(r.Name, pod.Name+"-")
	}
	pod.Name, pod.Namespace = r.Name, r.Namespace
	if r.UID != "" {
		pod.UID = types.UID(r.UID)
	}
	pod.Spec.NodeName = node
	if pod.Annotations == nil {
		pod.Annotations = make(map[string]string)
	}
	pod.Annotations[configSource] = "file"
	if pod.UID != "" {
		pod.Annotations[configHash] = string(pod.UID)
	}

	spec := &pod.Spec
	defaultSpec(spec)
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			defaultContainer(&containers[i])
		}
	}
	for i := range spec.Volumes {
		defaultVolume(&spec.Volumes[i])
	}
}

// defaultSpec: SetDefaults_PodSpec and SetDefaults_Pod.
func defaultSpec(spec *corev1.PodSpec) {
	if spec.ServiceAccountName == "" {
		spec.ServiceAccountName = spec.DeprecatedServiceAccount
	}
	spec.DeprecatedServiceAccount = spec.ServiceAccountName
	if spec.DNSPolicy == "" {
		spec.DNSPolicy = corev1.DNSClusterFirst
	}
	if spec.RestartPolicy == "" {
		spec.RestartPolicy = corev1.RestartPolicyAlways
	}
	if spec.SecurityContext == nil {
		spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	switch grace := spec.TerminationGracePeriodSeconds; {
	case grace == nil:
		spec.TerminationGracePeriodSeconds = new(int64(corev1.DefaultTerminationGracePeriodSeconds))
	case *grace < 0:
		spec.TerminationGracePeriodSeconds = new(int64(1))
	}
	if spec.SchedulerName == "" {
		spec.SchedulerName = corev1.DefaultSchedulerName
	}
	if spec.EnableServiceLinks == nil {
		spec.EnableServiceLinks = new(corev1.DefaultEnableServiceLinks)
	}
}

// defaultContainer: SetDefaults_Container, SetDefaults_ObjectFieldSelector, and
// of SetDefaults_Pod that a limit is a request, too. Requests of the pod as a
// whole are made at creation by the API server, which has not seen this pod
// (feature gate PodLevelResourcesFixDefaulting).
func defaultContainer(c *corev1.Container) {
	if c.ImagePullPolicy == "" {
		c.ImagePullPolicy = pullPolicy(c.Image)
	}
	if c.TerminationMessagePath == "" {
		c.TerminationMessagePath = corev1.TerminationMessagePathDefault
	}
	if c.TerminationMessagePolicy == "" {
		c.TerminationMessagePolicy = corev1.TerminationMessageReadFile
	}
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil {
			defaultFieldRef(from.FieldRef)
		}
	}
	if c.Resources.Limits != nil && c.Resources.Requests == nil {
		c.Resources.Requests = make(corev1.ResourceList)
	}
	for name, limit := range c.Resources.Limits {
		if _, ok := c.Resources.Requests[name]; !ok {
			c.Resources.Requests[name] = limit.DeepCopy()
		}
	}
}

// pullPolicy: an image that may change behind its name is pulled each time.
func pullPolicy(image string) corev1.PullPolicy {
	if name, _, _ := strings.Cut(reference(image), "@"); strings.HasSuffix(name, ":latest") {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

func defaultFieldRef(ref *corev1.ObjectFieldSelector) {
	if ref != nil && ref.APIVersion == "" {
		ref.APIVersion = "v1"
	}
}

// defaultVolume: SetDefaults_Volume, SetDefaults_HostPathVolumeSource.
func defaultVolume(v *corev1.Volume) {
	switch {
	case reflect.ValueOf(v.VolumeSource).IsZero():
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
	case v.HostPath != nil && v.HostPath.Type == nil:
		v.HostPath.Type = new(corev1.HostPathUnset)
	case v.Image != nil && v.Image.PullPolicy == "":
		v.Image.PullPolicy = pullPolicy(v.Image.Reference)
	case v.DownwardAPI != nil:
		defaultItems(v.DownwardAPI.Items)
	case v.Projected != nil:
		for _, source := range v.Projected.Sources {
			if source.DownwardAPI != nil {
				defaultItems(source.DownwardAPI.Items)
			}
		}
	}
}

func defaultItems(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		defaultFieldRef(items[i].FieldRef)
	}
}
