package kubelet

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// dryRun returns the request that Porthole would send for the pod.
func (w *watched) dryRun(stateDir string) (*runtimeapi.CreateContainerRequest, error) {
	var stdout, stderr bytes.Buffer
	cmd := w.k.porthole(stateDir, append(w.debug(w.flags...), "--dry-run", "-q", "--", "sh")...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("pod %s: --dry-run: %w: %s", w.name, err, &stderr)
	}
	request := &runtimeapi.CreateContainerRequest{}
	if err := json.Unmarshal(stdout.Bytes(), request); err != nil {
		return nil, fmt.Errorf("pod %s: --dry-run: %w", w.name, err)
	}
	return request, nil
}

// stored returns what kubelet made the sandbox and one of its containers with:
// the one that Porthole targets, or the pod's first.
func (w *watched) stored(ctx context.Context) (*runtimeapi.PodSandboxConfig, string, *runtimeapi.ContainerConfig, error) {
	name := w.spec.Containers[0].Name
	for _, f := range w.flags {
		if target, ok := strings.CutPrefix(f, "--target="); ok && target != "" {
			name = target
		}
	}
	answer, err := w.k.node.Runtime().PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: w.sandbox, Verbose: true})
	if err != nil {
		return nil, "", nil, err
	}
	var sandbox struct{ Config *runtimeapi.PodSandboxConfig }
	if err := json.Unmarshal([]byte(answer.GetInfo()["info"]), &sandbox); err != nil {
		return nil, "", nil, err
	}
	containers, err := w.containers(ctx)
	if err != nil {
		return nil, "", nil, err
	}
	containers = slices.DeleteFunc(containers, func(c *runtimeapi.Container) bool { return c.GetMetadata().GetName() != name })
	if len(containers) == 0 {
		return nil, "", nil, fmt.Errorf("pod %s has no container %s", w.name, name)
	}
	// Kubelet may remove all but the newest at any time.
	newest := slices.MaxFunc(containers, func(a, b *runtimeapi.Container) int { return cmp.Compare(a.GetCreatedAt(), b.GetCreatedAt()) })
	status, err := w.k.node.Runtime().ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: newest.GetId(), Verbose: true})
	if err != nil {
		return nil, "", nil, err
	}
	var container struct{ Config *runtimeapi.ContainerConfig }
	err = json.Unmarshal([]byte(status.GetInfo()["info"]), &container)
	return sandbox.Config, newest.GetId(), container.Config, err
}

// mirrors compares what Porthole would send with what this kubelet has sent for
// a container of the same pod, as far as it is the pod that decides. Kubelet has
// no ephemeral containers without an API server; recorded ones are held against
// cri in its own tests.
func (w *watched) mirrors(ctx context.Context, stateDir string) error {
	sandbox, id, theirs, err := w.stored(ctx)
	if err != nil {
		return err
	}
	request, err := w.dryRun(stateDir)
	if err != nil {
		return err
	}
	d := differences{pod: w.name}
	ours := request.GetConfig()
	d.message("sandbox config", request.GetSandboxConfig(), sandbox)
	d.equal("sandbox", request.GetPodSandboxId(), w.sandbox)
	for _, key := range []string{labelPodName, labelPodUID, "io.kubernetes.pod.namespace"} {
		d.equal("label "+key, ours.GetLabels()[key], theirs.GetLabels()[key])
	}
	for key := range maps.Keys(theirs.GetAnnotations()) {
		if strings.HasPrefix(key, "io.kubernetes.pod.") {
			d.equal("annotation "+key, ours.GetAnnotations()[key], theirs.GetAnnotations()[key])
		}
	}
	d.message("mount of /etc/hosts", mountAt(ours, "/etc/hosts"), mountAt(theirs, "/etc/hosts"))
	w.compareTermination(&d, ours, theirs)
	w.compareLinux(&d, ours.GetLinux(), theirs.GetLinux(), id)
	return errors.Join(d.found...)
}

// compareTermination checks the mount of the termination log, whose file is
// another for each container.
func (w *watched) compareTermination(d *differences, ours, theirs *runtimeapi.ContainerConfig) {
	const path = "/dev/termination-log"
	mine, their := proto.CloneOf(mountAt(ours, path)), proto.CloneOf(mountAt(theirs, path))
	if mine == nil || their == nil {
		d.message("mount of "+path, mine, their)
		return
	}
	want := filepath.Join(w.podDir(), "containers", ours.GetMetadata().GetName())
	d.equal("directory of the termination log", filepath.Dir(mine.GetHostPath()), want)
	mine.HostPath, their.HostPath = "", ""
	d.message("mount of "+path, mine, their)
}

func (w *watched) compareLinux(d *differences, ours, theirs *runtimeapi.LinuxContainerConfig, target string) {
	us, them := ours.GetSecurityContext(), theirs.GetSecurityContext()
	want := proto.CloneOf(them.GetNamespaceOptions())
	if want.GetPid() == runtimeapi.NamespaceMode_CONTAINER && !slices.Contains(w.flags, "--target=") {
		want.Pid, want.TargetId = runtimeapi.NamespaceMode_TARGET, target
	}
	d.message("namespace options", us.GetNamespaceOptions(), want)
	d.message("seccomp profile", us.GetSeccomp(), them.GetSeccomp())
	d.message("user", us.GetRunAsUser(), them.GetRunAsUser())
	d.message("group", us.GetRunAsGroup(), them.GetRunAsGroup())
	d.equal("supplemental groups", us.GetSupplementalGroups(), them.GetSupplementalGroups())
	d.equal("supplemental groups policy", us.GetSupplementalGroupsPolicy(), them.GetSupplementalGroupsPolicy())
	d.equal("masked paths", us.GetMaskedPaths(), them.GetMaskedPaths())
	d.equal("read-only paths", us.GetReadonlyPaths(), them.GetReadonlyPaths())
	d.equal("privileged", us.GetPrivileged(), them.GetPrivileged())

	mine, their := proto.CloneOf(ours.GetResources()), proto.CloneOf(theirs.GetResources())
	if len(w.spec.Containers[0].Resources.Limits) > 0 {
		// An ephemeral container has no resources of its own; what is left is
		// the pod's.
		for _, r := range []*runtimeapi.LinuxContainerResources{mine, their} {
			r.CpuShares, r.CpuQuota, r.MemoryLimitInBytes, r.MemorySwapLimitInBytes = 0, 0, 0, 0
		}
	}
	d.message("resources", mine, their)
}

// mountAt returns the mount that a container sees at path.
func mountAt(c *runtimeapi.ContainerConfig, path string) *runtimeapi.Mount {
	for _, m := range c.GetMounts() {
		if m.GetContainerPath() == path {
			return m
		}
	}
	return nil
}

// differences collects what is not equal.
type differences struct {
	pod   string
	found []error
}

func (d *differences) message(what string, got, want proto.Message) {
	if !proto.Equal(got, want) {
		d.found = append(d.found, fmt.Errorf("pod %s: %s is\n  %v\nand kubelet's\n  %v", d.pod, what, got, want))
	}
}

func (d *differences) equal(what string, got, want any) {
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		d.found = append(d.found, fmt.Errorf("pod %s: %s is %q and kubelet's %q", d.pod, what, g, w))
	}
}
