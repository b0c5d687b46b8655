package cri

import (
	"context"
	"fmt"
	"sync"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/runtime"
)

// Find resolves a reference: two filtered questions where it is a name, and
// full lists only for an ID or for the candidates of an error.
func (c *Client) Find(ctx context.Context, ref runtime.Ref) (runtime.Match, []runtime.Container, error) {
	labels := map[string]string{runtime.LabelPodName: ref.Name}
	if ref.Namespace != "" {
		labels[runtime.LabelPodNamespace] = ref.Namespace
	}
	pods, containers, err := c.both(ctx, labels)
	if err != nil {
		return runtime.Match{}, nil, err
	}
	match, err := runtime.Find(ref, pods, containers)
	if errdefs.IsNotFound(err) {
		if pods, containers, err = c.both(ctx, nil); err != nil {
			return runtime.Match{}, nil, err
		}
		match, err = runtime.Find(ref, pods, containers)
	}
	if err != nil {
		return runtime.Match{}, nil, err
	}
	var own []runtime.Container
	for _, k := range containers {
		if k.PodID == match.Pod.ID {
			own = append(own, k)
		}
	}
	return match, own, nil
}

func (c *Client) both(ctx context.Context, labels map[string]string) (pods []runtime.Pod, containers []runtime.Container, err error) {
	var wg sync.WaitGroup
	var podsErr error
	wg.Go(func() { pods, podsErr = c.Pods(ctx, labels) })
	containers, err = c.Containers(ctx, labels)
	wg.Wait()
	if podsErr != nil {
		err = podsErr
	}
	return pods, containers, err
}

// Facts asks the runtime what the plan must know of the pod, and of the target
// or, if that is nil, of another container of the pod.
func (c *Client) Facts(ctx context.Context, pod runtime.Pod, containers []runtime.Container, target *runtime.Container) (*runtime.Facts, error) {
	f := &runtime.Facts{Runtime: c.String(), Pod: pod, Containers: containers}
	var wg sync.WaitGroup
	var targetErr error
	ask, into := target, &f.Target
	if ask == nil {
		ask, into = neighbour(containers), &f.Neighbour
	}
	if ask != nil {
		wg.Go(func() { *into, targetErr = c.target(ctx, *ask) })
	}
	err := c.sandbox(ctx, f)
	wg.Wait()
	if err != nil {
		return nil, err
	}
	if targetErr != nil && target != nil {
		return nil, targetErr
	}
	return f, nil
}

// neighbour picks a container that is not ours, a running one first.
func neighbour(containers []runtime.Container) *runtime.Container {
	var best *runtime.Container
	for _, k := range runtime.Newest(containers) {
		if !runtime.IsOurs(k.Labels) && (best == nil || best.State != runtime.Running && k.State == runtime.Running) {
			best = &k
		}
	}
	return best
}

func (c *Client) sandbox(ctx context.Context, f *runtime.Facts) error {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: f.Pod.ID, Verbose: true})
	if err != nil {
		return fmt.Errorf("sandbox %.13s of pod %s: %w", f.Pod.ID, f.Pod.FullName(), classify(err))
	}
	var info sandboxInfo
	parseInfo(answer.GetInfo(), &info)
	config := storedSandbox(answer.GetStatus(), info)
	f.Native = config
	// The list may be older than the status.
	if answer.GetStatus().GetState() != runtimeapi.PodSandboxState_SANDBOX_READY {
		f.Pod.State = runtime.NotReady
	}
	f.Sandbox = sandboxOf(config)
	f.Sandbox.UsersKnown = info.Config != nil
	f.Sandbox.PID = info.PID
	f.Sandbox.Kernel = foreignKernel(answer.GetStatus(), info)
	network := answer.GetStatus().GetNetwork()
	if ip := network.GetIp(); ip != "" {
		f.Sandbox.IPs = append(f.Sandbox.IPs, ip)
	}
	for _, more := range network.GetAdditionalIps() {
		f.Sandbox.IPs = append(f.Sandbox.IPs, more.GetIp())
	}
	return nil
}

// sandboxOf reads what the plan must know of the configuration with which the
// sandbox was created.
func sandboxOf(config *runtimeapi.PodSandboxConfig) runtime.Sandbox {
	sc := config.GetLinux().GetSecurityContext()
	ns := sc.GetNamespaceOptions()
	return runtime.Sandbox{
		Network:            modeOf(ns.GetNetwork()),
		ProcessIDs:         modeOf(ns.GetPid()),
		IPC:                modeOf(ns.GetIpc()),
		Users:              usersOf(ns.GetUsernsOptions()),
		LogDirectory:       config.GetLogDirectory(),
		CgroupParent:       config.GetLinux().GetCgroupParent(),
		Privileged:         sc.GetPrivileged(),
		RunAsUser:          valueOf(sc.GetRunAsUser()),
		RunAsGroup:         valueOf(sc.GetRunAsGroup()),
		SupplementalGroups: sc.GetSupplementalGroups(),
		StrictGroups:       sc.GetSupplementalGroupsPolicy() == runtimeapi.SupplementalGroupsPolicy_Strict,
		SELinux:            selinuxOf(sc.GetSelinuxOptions()),
	}
}
