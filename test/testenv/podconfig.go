package testenv

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The labels that kubelet puts on sandboxes and containers.
const (
	labelPodName       = "io.kubernetes.pod.name"
	labelPodNamespace  = "io.kubernetes.pod.namespace"
	labelPodUID        = "io.kubernetes.pod.uid"
	labelContainerName = "io.kubernetes.container.name"
)

const (
	terminationLog = "/dev/termination-log"
	// firstHostID and idRange are the part of the host's user IDs that a pod
	// with its own user namespace gets. Pods of a test share it: what is under
	// test is the mapping, not the separation of two pods.
	firstHostID = 3518038016
	idRange     = 65536
)

// newUID returns a random pod UID in the usual form.
func newUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never returns an error
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// maskedPaths and readonlyPaths are what kubelet 1.37 sends for a container
// with the default proc mount.
func maskedPaths() []string {
	return []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
		"/sys/devices/virtual/powercap",
	}
}

func readonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

// serviceEnv is what kubelet tells every container about the API's service.
func serviceEnv() []Env {
	return []Env{
		{"KUBERNETES_SERVICE_HOST", "10.96.0.1"},
		{"KUBERNETES_SERVICE_PORT", "443"},
		{"KUBERNETES_SERVICE_PORT_HTTPS", "443"},
		{"KUBERNETES_PORT", "tcp://10.96.0.1:443"},
		{"KUBERNETES_PORT_443_TCP", "tcp://10.96.0.1:443"},
		{"KUBERNETES_PORT_443_TCP_PROTO", "tcp"},
		{"KUBERNETES_PORT_443_TCP_PORT", "443"},
		{"KUBERNETES_PORT_443_TCP_ADDR", "10.96.0.1"},
	}
}

// namespaceOptions translates the pod's fields as kubelet does, for the
// sandbox and for every container alike.
func (s PodSpec) namespaceOptions() *runtimeapi.NamespaceOption {
	o := &runtimeapi.NamespaceOption{
		Pid:           runtimeapi.NamespaceMode_CONTAINER,
		UsernsOptions: &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_NODE},
	}
	if s.HostNetwork {
		o.Network = runtimeapi.NamespaceMode_NODE
	}
	if s.HostIPC {
		o.Ipc = runtimeapi.NamespaceMode_NODE
	}
	switch {
	case s.HostPID:
		o.Pid = runtimeapi.NamespaceMode_NODE
	case s.ShareProcessNamespace:
		o.Pid = runtimeapi.NamespaceMode_POD
	}
	if ids := s.idMapping(); ids != nil {
		o.UsernsOptions = &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD, Uids: ids, Gids: ids}
	}
	return o
}

// idMapping is the mapping of a pod with hostUsers: false, else nil.
func (s PodSpec) idMapping() []*runtimeapi.IDMapping {
	if !s.UserNS {
		return nil
	}
	return []*runtimeapi.IDMapping{{HostId: firstHostID, ContainerId: 0, Length: idRange}}
}

// sandboxConfig is what kubelet sends in RunPodSandbox.
func (n *Node) sandboxConfig(p *Pod, spec PodSpec) *runtimeapi.PodSandboxConfig {
	labels := map[string]string{labelPodName: p.Name, labelPodNamespace: p.Namespace, labelPodUID: p.UID}
	maps.Copy(labels, spec.Labels)
	annotations := map[string]string{
		"kubernetes.io/config.seen":   time.Now().UTC().Format(time.RFC3339Nano),
		"kubernetes.io/config.source": "api",
	}
	maps.Copy(annotations, spec.Annotations)
	c := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: p.Name, Namespace: p.Namespace, Uid: p.UID},
		LogDirectory: p.LogDir,
		DnsConfig:    &runtimeapi.DNSConfig{Servers: []string{"127.0.0.1"}, Searches: []string{"."}},
		Labels:       labels,
		Annotations:  annotations,
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent: path.Join(n.Cgroup(), "pod"+p.UID),
			Overhead:     &runtimeapi.LinuxContainerResources{},
			Resources:    &runtimeapi.LinuxContainerResources{CpuPeriod: 100000, CpuShares: 2},
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: spec.namespaceOptions(),
				Privileged:       spec.Privileged,
				Seccomp:          &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
			},
		},
	}
	if !spec.HostNetwork {
		c.Hostname = p.Name
	}
	if spec.Edit != nil {
		spec.Edit(c)
	}
	return c
}

// containerConfig is what kubelet sends in CreateContainer, after it has made
// the container's log directory, termination file and volumes.
func (n *Node) containerConfig(ctx context.Context, p *Pod, spec PodSpec, s ContainerSpec) (*runtimeapi.ContainerConfig, error) {
	if s.Image == "" {
		s.Image = ImageApp
	}
	image, err := n.image(ctx, s.Image)
	if err != nil {
		return nil, err
	}
	mounts, err := p.mounts(spec, s)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(p.LogDir, s.Name), 0o755); err != nil {
		return nil, err
	}
	c := &runtimeapi.ContainerConfig{
		Metadata:    &runtimeapi.ContainerMetadata{Name: s.Name},
		Image:       &runtimeapi.ImageSpec{Image: image.GetId(), UserSpecifiedImage: s.Image},
		Command:     s.Command,
		Args:        s.Args,
		Envs:        envs(s.Env),
		Mounts:      mounts,
		LogPath:     s.Name + "/0.log",
		Labels:      map[string]string{labelContainerName: s.Name, labelPodName: p.Name, labelPodNamespace: p.Namespace, labelPodUID: p.UID},
		Annotations: containerAnnotations(s),
		Linux:       linuxContainer(spec, s, image),
	}
	if s.Edit != nil {
		s.Edit(c)
	}
	return c, nil
}

// envs puts the container's own variables before those of services, as kubelet
// does.
func envs(own []Env) []*runtimeapi.KeyValue {
	var out []*runtimeapi.KeyValue
	for _, e := range append(append([]Env{}, own...), serviceEnv()...) {
		out = append(out, &runtimeapi.KeyValue{Key: e.Name, Value: []byte(e.Value)})
	}
	return out
}

// containerAnnotations are kubelet's five. The hash only has to change with
// the container; nobody compares it with kubelet's.
func containerAnnotations(s ContainerSpec) map[string]string {
	h := fnv.New32a()
	fmt.Fprint(h, s.Name, s.Image, s.Command, s.Args, s.Env)
	return map[string]string{
		"io.kubernetes.container.hash":                     strconv.FormatUint(uint64(h.Sum32()), 16),
		"io.kubernetes.container.restartCount":             "0",
		"io.kubernetes.container.terminationMessagePath":   terminationLog,
		"io.kubernetes.container.terminationMessagePolicy": "File",
		"io.kubernetes.pod.terminationGracePeriod":         "2",
	}
}

// linuxContainer is the Linux part of a container of a best-effort pod. The
// user is the spec's, else the image's, else root.
func linuxContainer(spec PodSpec, s ContainerSpec, image *runtimeapi.Image) *runtimeapi.LinuxContainerConfig {
	user, username := image.GetUid(), ""
	switch {
	case s.RunAsUser != nil:
		user = &runtimeapi.Int64Value{Value: *s.RunAsUser}
	case user == nil && image.GetUsername() != "":
		username = image.GetUsername()
	case user == nil:
		user = &runtimeapi.Int64Value{}
	}
	return &runtimeapi.LinuxContainerConfig{
		Resources: &runtimeapi.LinuxContainerResources{
			CpuPeriod: 100000, CpuShares: 2, OomScoreAdj: 1000, HugepageLimits: hugepageLimits(),
		},
		SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
			NamespaceOptions: spec.namespaceOptions(),
			Privileged:       spec.Privileged,
			RunAsUser:        user,
			RunAsUsername:    username,
			MaskedPaths:      maskedPaths(),
			ReadonlyPaths:    readonlyPaths(),
			Seccomp:          &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined},
		},
	}
}

// hugepageLimits forbids every huge page size the machine has, smallest first.
func hugepageLimits() []*runtimeapi.HugepageLimit {
	entries, _ := os.ReadDir("/sys/kernel/mm/hugepages")
	var sizes []int // in KiB
	for _, e := range entries {
		text := strings.TrimSuffix(strings.TrimPrefix(e.Name(), "hugepages-"), "kB")
		if kib, err := strconv.Atoi(text); err == nil {
			sizes = append(sizes, kib)
		}
	}
	slices.Sort(sizes)
	var limits []*runtimeapi.HugepageLimit
	for _, kib := range sizes {
		size := strconv.Itoa(kib>>10) + "MB"
		if kib >= 1<<20 {
			size = strconv.Itoa(kib>>20) + "GB"
		}
		limits = append(limits, &runtimeapi.HugepageLimit{PageSize: size})
	}
	return limits
}

// mounts makes the container's volumes, its hosts file and its termination
// file and returns the mounts in kubelet's order.
func (p *Pod) mounts(spec PodSpec, s ContainerSpec) ([]*runtimeapi.Mount, error) {
	var mounts []*runtimeapi.Mount
	for _, m := range s.Mounts {
		host := m.HostPath
		if m.Volume != "" {
			host = p.VolumeDir(m.Volume)
			if err := makeWorldWritable(host); err != nil {
				return nil, err
			}
		}
		mounts = append(mounts, &runtimeapi.Mount{
			ContainerPath: m.Path, HostPath: host, Readonly: m.ReadOnly, Propagation: m.Propagation,
		})
	}
	termination, err := p.makeTerminationFile(s.Name)
	if err != nil {
		return nil, err
	}
	mounts = append(mounts,
		&runtimeapi.Mount{ContainerPath: "/etc/hosts", HostPath: p.dir("etc-hosts")},
		&runtimeapi.Mount{ContainerPath: terminationLog, HostPath: termination},
	)
	for _, m := range mounts {
		m.UidMappings, m.GidMappings = spec.idMapping(), spec.idMapping()
	}
	return mounts, nil
}

// VolumeDir returns where the pod's emptyDir of that name is on the host.
func (p *Pod) VolumeDir(volume string) string {
	return p.dir("volumes", "kubernetes.io~empty-dir", volume)
}

// makeWorldWritable makes an emptyDir; kubelet gives it mode 0777.
func makeWorldWritable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o777)
}

// makeTerminationFile makes the file that the container sees as its
// termination log, under a random name and writable by any user.
func (p *Pod) makeTerminationFile(container string) (string, error) {
	dir := p.dir("containers", container)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	file := filepath.Join(dir, newID())
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return "", err
	}
	return file, os.Chmod(file, 0o666)
}
