package testenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// PodSpec says what pod to run, in the terms of a v1.Pod.
type PodSpec struct {
	Namespace   string // "default" if empty
	Name        string // required
	UID         string // random if empty
	Labels      map[string]string
	Annotations map[string]string

	HostNetwork           bool
	HostPID               bool
	HostIPC               bool
	ShareProcessNamespace bool
	// UserNS is hostUsers: false. Only V24 runs it.
	UserNS bool
	// Privileged is the pod's and that of all its containers.
	Privileged bool

	// Containers to run; one named "app" of ImageApp if empty.
	Containers []ContainerSpec

	// Edit, if not nil, changes the sandbox's config before it is sent.
	Edit func(*runtimeapi.PodSandboxConfig)
}

// ContainerSpec says what container to run, in the terms of a v1.Container.
type ContainerSpec struct {
	Name      string
	Image     string // ImageApp if empty
	Command   []string
	Args      []string
	Env       []Env
	Mounts    []Mount
	RunAsUser *int64

	// Edit, if not nil, changes the container's config before it is sent: for
	// capabilities, seccomp, limits, a terminal and whatever else a test needs.
	Edit func(*runtimeapi.ContainerConfig)
}

// Env is one variable of a container's environment.
type Env struct{ Name, Value string }

// Mount is one volume mount of a container.
type Mount struct {
	// Volume names an emptyDir of the pod; it is made at first use.
	Volume string
	// HostPath is mounted instead when Volume is empty.
	HostPath string
	// Path is where the container sees it.
	Path        string
	ReadOnly    bool
	Propagation runtimeapi.MountPropagation
}

// Pod is a pod that RunPod made.
type Pod struct {
	ID         string // of the sandbox
	UID        string
	Name       string
	Namespace  string
	LogDir     string
	Containers map[string]Container // by name, those of the spec

	// Config is what the sandbox was made with. Treat it as read-only.
	Config *runtimeapi.PodSandboxConfig

	node *Node
}

// Container is a container of a Pod.
type Container struct {
	ID  string
	PID int // of its first process, in the host's process namespace

	// Config is what the container was made with. Treat it as read-only.
	Config *runtimeapi.ContainerConfig
}

// RunPod makes a pod the way kubelet 1.37 does (see the golden vectors) and
// returns when all its containers were started. On an error nothing of the pod
// is left. Nobody watches the pod: what ends is not restarted.
func (n *Node) RunPod(ctx context.Context, spec PodSpec) (*Pod, error) {
	if err := n.complete(&spec); err != nil {
		return nil, err
	}
	p := &Pod{
		UID:        spec.UID,
		Name:       spec.Name,
		Namespace:  spec.Namespace,
		LogDir:     filepath.Join(n.PodLogs(), spec.Namespace+"_"+spec.Name+"_"+spec.UID),
		Containers: map[string]Container{},
		node:       n,
	}
	if err := n.runPod(ctx, p, spec); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("pod %s/%s: %w", p.Namespace, p.Name, err), p.Remove(undo))
	}
	return p, nil
}

// complete fills in what spec leaves out and refuses what cannot run.
func (n *Node) complete(spec *PodSpec) error {
	if spec.Name == "" {
		return fmt.Errorf("pod without a name: %w", errdefs.ErrInvalidArgument)
	}
	if spec.UserNS && n.version == V16 {
		return fmt.Errorf("pod %s: containerd %s has no user namespaces, use V24: %w", spec.Name, n.version, errdefs.ErrNotImplemented)
	}
	if spec.Namespace == "" {
		spec.Namespace = "default"
	}
	if spec.UID == "" {
		spec.UID = newUID()
	}
	if len(spec.Containers) == 0 {
		spec.Containers = []ContainerSpec{{Name: "app"}}
	}
	return nil
}

func (n *Node) runPod(ctx context.Context, p *Pod, spec PodSpec) error {
	if err := p.makeDirs(); err != nil {
		return err
	}
	p.Config = n.sandboxConfig(p, spec)
	if err := makeCgroups(p.Config.GetLinux().GetCgroupParent()); err != nil {
		return err
	}
	resp, err := n.runtime.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: p.Config})
	if err != nil {
		return fmt.Errorf("run sandbox: %w", err)
	}
	p.ID = resp.GetPodSandboxId()
	for _, c := range spec.Containers {
		started, err := n.runContainer(ctx, p, spec, c)
		if err != nil {
			return fmt.Errorf("container %s: %w", c.Name, err)
		}
		p.Containers[c.Name] = started
	}
	return nil
}

// makeDirs makes what kubelet makes before the sandbox: the pod's directory
// with its hosts file, and the log directory.
func (p *Pod) makeDirs() error {
	if err := os.MkdirAll(p.LogDir, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(p.dir(), 0o755); err != nil {
		return err
	}
	hosts := "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"
	return os.WriteFile(p.dir("etc-hosts"), []byte(hosts), 0o644)
}

// dir returns a path in the pod's directory under the kubelet's root.
func (p *Pod) dir(elem ...string) string {
	return filepath.Join(append([]string{p.node.KubeletRoot(), "pods", p.UID}, elem...)...)
}

// runContainer creates and starts one container and finds its process.
func (n *Node) runContainer(ctx context.Context, p *Pod, spec PodSpec, c ContainerSpec) (Container, error) {
	config, err := n.containerConfig(ctx, p, spec, c)
	if err != nil {
		return Container{}, err
	}
	created, err := n.runtime.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: p.ID, Config: config, SandboxConfig: p.Config,
	})
	if err != nil {
		return Container{}, fmt.Errorf("create: %w", err)
	}
	id := created.GetContainerId()
	if _, err := n.runtime.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: id}); err != nil {
		return Container{}, fmt.Errorf("start: %w", err)
	}
	pid, err := n.ContainerPID(ctx, id)
	if err != nil {
		return Container{}, err
	}
	return Container{ID: id, PID: pid, Config: config}, waitExec(ctx, pid)
}

// waitExec waits until pid is the container's program and no longer runc's
// init: StartContainer returns between the two, and until then environment,
// arguments and executable are runc's. Processes that have ended count as done.
func waitExec(ctx context.Context, pid int) error {
	for {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil || !strings.HasPrefix(string(comm), "runc:[") {
			return nil
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

// ContainerPID returns the process ID of a container's first process, or 0 if
// it has ended.
func (n *Node) ContainerPID(ctx context.Context, id string) (int, error) {
	resp, err := n.runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		return 0, fmt.Errorf("status of container %s: %w", id, err)
	}
	var info struct{ PID int }
	if err := json.Unmarshal([]byte(resp.GetInfo()["info"]), &info); err != nil {
		return 0, fmt.Errorf("status of container %s: info: %w", id, err)
	}
	return info.PID, nil
}

// StopContainer stops one container with a grace of 2 s. It is not removed.
func (p *Pod) StopContainer(ctx context.Context, name string) error {
	c, ok := p.Containers[name]
	if !ok {
		return fmt.Errorf("pod %s has no container %q: %w", p.Name, name, errdefs.ErrNotFound)
	}
	_, err := p.node.runtime.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: c.ID, Timeout: 2})
	return err
}

// Stop kills every container of the pod and tears its network down. Containers
// and sandbox stay, not running, until Remove.
func (p *Pod) Stop(ctx context.Context) error {
	if p.ID == "" {
		return nil
	}
	_, err := p.node.runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.ID})
	return err
}

// Remove stops the pod and removes it with all its containers, logs,
// directories and cgroups, as kubelet does for a deleted pod. A second call
// does nothing.
func (p *Pod) Remove(ctx context.Context) error {
	if err := p.Stop(ctx); err != nil && status.Code(err) != codes.NotFound {
		return fmt.Errorf("stop pod %s: %w", p.Name, err)
	}
	if p.ID != "" {
		if _, err := p.node.runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: p.ID}); err != nil {
			return fmt.Errorf("remove pod %s: %w", p.Name, err)
		}
	}
	return errors.Join(
		removeCgroups(ctx, path.Join(p.node.Cgroup(), "pod"+p.UID)),
		os.RemoveAll(p.LogDir),
		os.RemoveAll(p.dir()),
	)
}

// IP returns the pod's first address, which the host reaches directly; it is
// empty for a pod on the host's network.
func (p *Pod) IP(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	resp, err := p.node.runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p.ID})
	if err != nil {
		return "", fmt.Errorf("status of pod %s: %w", p.Name, err)
	}
	return resp.GetStatus().GetNetwork().GetIp(), nil
}
