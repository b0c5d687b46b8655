package kubelet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/test/testenv"
)

// TestTwins opens pods with the specification that one of their containers has
// already: as an ephemeral container without a target it must give the request
// that this kubelet made of it, field by field. A kubelet without an API server
// has no ephemeral containers, and so the twin is the way to compare with a
// living one what the recorded requests do not have.
func TestTwins(t *testing.T) {
	program := program(t)
	machineStays(t)
	k := startKubelet(t, program)
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, "config.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var twins []*watched
	for _, s := range twinSubjects() {
		twins = append(twins, &watched{subject: s, k: k})
		if err := k.apply(s.pod()); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range twins {
		t.Run(w.name, func(t *testing.T) {
			k.eventually(t, time.Minute, "pod "+w.name+" runs", w.ready)
			if err := w.isTwin(t.Context(), state, "kubelet's Pods API"); err != nil {
				t.Error(err)
			}
		})
	}
	// The same with a dead kubelet, from the manifests.
	k.daemon.End(syscall.SIGKILL, 10*time.Second)
	for _, w := range twins {
		t.Run(w.name+"-from-its-manifest", func(t *testing.T) {
			if err := w.isTwin(t.Context(), state, "static pod manifest "+k.manifests()); err != nil {
				t.Error(err)
			}
		})
	}
}

// isTwin compares the two requests; source is who tells the pod's spec.
func (w *watched) isTwin(ctx context.Context, state, source string) error {
	sandbox, _, theirs, err := w.stored(ctx)
	if err != nil {
		return err
	}
	request, said, err := w.dryTwin(state)
	if err != nil {
		return err
	}
	d := differences{pod: w.name}
	if !strings.Contains(said, "pod spec: "+source) || strings.Contains(said, "read strictly") {
		return fmt.Errorf("pod %s: Porthole says %s; want the spec to be from %s", w.name, said, source)
	}
	d.message("sandbox config", request.GetSandboxConfig(), sandbox)
	d.message("container config", nameless(request.GetConfig()), nameless(theirs))
	return errors.Join(d.found...)
}

// dryTwin is the request for the first container's specification, and what was
// said on standard error.
func (w *watched) dryTwin(state string) (*runtimeapi.CreateContainerRequest, string, error) {
	c := w.spec.Containers[0]
	spec := corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon(*c.DeepCopy())}
	spec.Name, spec.ImagePullPolicy = "twin", corev1.PullNever
	doc, err := json.Marshal(spec)
	if err != nil {
		return nil, "", err
	}
	file := filepath.Join(state, w.name+".json")
	if err := os.WriteFile(file, doc, 0o600); err != nil {
		return nil, "", err
	}
	var stdout, stderr bytes.Buffer
	cmd := w.k.porthole(state, "debug", namespace+"/"+w.fullName(), "--verbose", "-f", file, "--dry-run")
	cmd.Env = append(cmd.Env, "PORTHOLE_STATIC_POD_PATH="+w.k.manifests())
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, "", fmt.Errorf("pod %s: %w: %s", w.name, err, &stderr)
	}
	request := &runtimeapi.CreateContainerRequest{}
	if err := json.Unmarshal(stdout.Bytes(), request); err != nil {
		return nil, "", fmt.Errorf("pod %s: %w", w.name, err)
	}
	return request, stderr.String(), nil
}

// nameless blanks what follows from the container's name, is random, or marks a
// session: all that may differ.
func nameless(c *runtimeapi.ContainerConfig) *runtimeapi.ContainerConfig {
	c = proto.CloneOf(c)
	name := c.GetMetadata().GetName()
	c.Metadata, c.StdinOnce = nil, false
	c.LogPath = strings.Replace(c.GetLogPath(), name+"/", "NAME/", 1)
	c.Labels["io.kubernetes.container.name"], c.Annotations["io.kubernetes.container.hash"] = "NAME", "HASH"
	for key := range c.GetLabels() {
		if strings.HasPrefix(key, "porthole.dev/") {
			delete(c.Labels, key)
		}
	}
	for _, m := range c.GetMounts() {
		if m.GetImage() != nil {
			// containerd notes in its own copy where it has put the image, and drops
			// the mapping that it has applied to it.
			m.HostPath, m.UidMappings, m.GidMappings = "", nil, nil
		}
		if dir, _ := filepath.Split(m.GetHostPath()); filepath.Base(dir) == name && strings.Contains(dir, "/containers/") {
			m.HostPath = filepath.Join(filepath.Dir(filepath.Clean(dir)), "NAME")
		}
	}
	// Kubelet goes through maps.
	slices.SortFunc(c.GetEnvs(), func(a, b *runtimeapi.KeyValue) int { return strings.Compare(a.GetKey(), b.GetKey()) })
	return c
}

// twinSubjects is the table: each first container has what the specification of
// an ephemeral container can have.
func twinSubjects() []subject {
	return []subject{
		{name: "twin-env", spec: corev1.PodSpec{Containers: []corev1.Container{envTwin()}}},
		{name: "twin-volumes", spec: volumesTwin(nil)},
		{name: "twin-userns", spec: volumesTwin(ptr(false))},
		{name: "twin-security", spec: securityTwin()},
		{name: "twin-strict", spec: strictTwin()},
		{name: "twin-pod-level", spec: podLevelTwin()},
		{name: "twin-host", spec: corev1.PodSpec{HostNetwork: true, HostIPC: true, HostPID: true, Containers: []corev1.Container{envTwin()}}},
		{name: "twin-shared", spec: corev1.PodSpec{ShareProcessNamespace: ptr(true), Containers: []corev1.Container{idle("app")}}},
	}
}

func envTwin() corev1.Container {
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	amount := func(name, what, divisor string) corev1.EnvVar {
		ref := &corev1.ResourceFieldSelector{Resource: what, ContainerName: "app"}
		if divisor != "" {
			ref.Divisor = resource.MustParse(divisor)
		}
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: ref}}
	}
	c := corev1.Container{
		Name: "app", Image: testenv.ImageApp, WorkingDir: "/", Stdin: true, TTY: true,
		TerminationMessagePath: "tmp/why", TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		Command: []string{"/app", "$(VERB)"}, Args: []string{"$$(VERB)", "$(UNKNOWN)", "$(ALL)", ""},
		Env: []corev1.EnvVar{
			field("NAME", "metadata.name"), field("NAMESPACE", "metadata.namespace"), field("UID", "metadata.uid"),
			field("LABEL", "metadata.labels['app']"), field("NOTHING", "metadata.annotations['nope']"),
			field("NODE", "spec.nodeName"), field("ACCOUNT", "spec.serviceAccountName"),
			field("POD_IP", "status.podIP"), field("POD_IPS", "status.podIPs"), field("HOST_IP", "status.hostIP"), field("HOST_IPS", "status.hostIPs"),
			amount("CPU", "requests.cpu", "1m"), amount("MEMORY", "requests.memory", "1Mi"), amount("STORAGE", "requests.ephemeral-storage", ""),
			{Name: "VERB", Value: "pause"}, {Name: "TWICE", Value: "1"}, {Name: "TWICE", Value: "$(TWICE)2"},
			{Name: "ALL", Value: "$(NAME)/$(NODE)/$(LATER)/$$(NAME)/$"}, {Name: "LATER", Value: "x"}, {Name: "EMPTY"}, {Name: "odd name.1", Value: "é\n"},
		},
	}
	return c
}

// volumesTwin asks for no recursive read-only mounts "if possible": a kubelet
// without an API server does not look whether they are.
func volumesTwin(hostUsers *bool) corev1.PodSpec {
	spec := volumesSpec()
	spec.HostUsers = hostUsers
	c := &spec.Containers[0]
	mount := func(m corev1.VolumeMount) { c.VolumeMounts = append(c.VolumeMounts, m) }
	mount(corev1.VolumeMount{Name: "disk", MountPath: "/read-only", ReadOnly: true, RecursiveReadOnly: ptr(corev1.RecursiveReadOnlyDisabled)})
	mount(corev1.VolumeMount{Name: "disk", MountPath: "/etc/hosts.d", MountPropagation: ptr(corev1.MountPropagationHostToContainer)})
	mount(corev1.VolumeMount{Name: "memory", MountPath: "relative/path", MountPropagation: ptr(corev1.MountPropagationNone)})
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "image", VolumeSource: corev1.VolumeSource{
		Image: &corev1.ImageVolumeSource{Reference: testenv.ImageBusybox, PullPolicy: corev1.PullNever},
	}})
	mount(corev1.VolumeMount{Name: "image", MountPath: "/image"})
	if hostUsers != nil {
		c.SecurityContext = &corev1.SecurityContext{ProcMount: ptr(corev1.UnmaskedProcMount)}
	}
	return spec
}

func securityTwin() corev1.PodSpec {
	c := idle("app")
	c.SecurityContext = &corev1.SecurityContext{
		Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN", "SYS_PTRACE"}, Drop: []corev1.Capability{"MKNOD"}},
		RunAsUser:    ptr[int64](1001), RunAsNonRoot: ptr(true), AllowPrivilegeEscalation: ptr(true), ReadOnlyRootFilesystem: ptr(false),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		SELinuxOptions: &corev1.SELinuxOptions{Level: "s0:c1,c2"},
	}
	other := idle("other")
	other.SecurityContext = &corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	return corev1.PodSpec{
		Containers: []corev1.Container{c, other}, TerminationGracePeriodSeconds: ptr[int64](7),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsUser: ptr[int64](1000), RunAsGroup: ptr[int64](3000), FSGroup: ptr[int64](2000), SupplementalGroups: []int64{4000, 1},
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined},
		},
	}
}

func strictTwin() corev1.PodSpec {
	c := idle("app")
	c.SecurityContext = &corev1.SecurityContext{AllowPrivilegeEscalation: ptr(false), ReadOnlyRootFilesystem: ptr(true)}
	return corev1.PodSpec{
		Containers: []corev1.Container{c},
		SecurityContext: &corev1.PodSecurityContext{
			RunAsUser: ptr[int64](1000), RunAsNonRoot: ptr(true), SupplementalGroups: []int64{5},
			SupplementalGroupsPolicy: ptr(corev1.SupplementalGroupsPolicyStrict),
		},
	}
}

// podLevelTwin has resources of its own, from which its containers have theirs.
func podLevelTwin() corev1.PodSpec {
	return corev1.PodSpec{
		Containers: []corev1.Container{idle("app"), idle("second")},
		Resources: &corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
		},
	}
}
