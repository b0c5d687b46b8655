package cri

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/runtime"
)

// Request renders a plan made from this package's facts into the one request
// that will be sent.
func (c *Client) Request(p *runtime.Plan) (*runtimeapi.CreateContainerRequest, error) {
	stored, ok := p.Native.(*runtimeapi.PodSandboxConfig)
	if !ok {
		return nil, fmt.Errorf("plan for pod %s was not made from facts of this runtime: %w", p.Pod.FullName(), errdefs.ErrInvalidArgument)
	}
	for _, m := range p.Mounts {
		// A CRI mount of a path under /proc is resolved by the runtime in the host's
		// own /proc: /proc/PID/root would be the host's root.
		if host := path.Clean(m.HostPath); host == "/proc" || strings.HasPrefix(host, "/proc/") {
			return nil, fmt.Errorf("mount %s at %s: host paths under /proc are refused: %w", m.HostPath, m.ContainerPath, errdefs.ErrInvalidArgument)
		}
	}
	sandbox := proto.CloneOf(stored)
	if p.Security.Privileged {
		// Kubelet counts the ephemeral container too; both runtimes look only at the
		// request: "no privileged container allowed in sandbox".
		if sandbox.Linux == nil {
			sandbox.Linux = &runtimeapi.LinuxPodSandboxConfig{}
		}
		if sandbox.Linux.SecurityContext == nil {
			sandbox.Linux.SecurityContext = &runtimeapi.LinuxSandboxSecurityContext{}
		}
		sandbox.Linux.SecurityContext.Privileged = true
	}
	return &runtimeapi.CreateContainerRequest{
		PodSandboxId:  p.Pod.ID,
		Config:        containerConfig(p),
		SandboxConfig: sandbox,
	}, nil
}

func containerConfig(p *runtime.Plan) *runtimeapi.ContainerConfig {
	config := &runtimeapi.ContainerConfig{
		Metadata:    &runtimeapi.ContainerMetadata{Name: p.Name},
		Image:       &runtimeapi.ImageSpec{Image: p.Image.ID, UserSpecifiedImage: p.Image.Ref},
		Command:     p.Command,
		Args:        p.Args,
		WorkingDir:  p.WorkingDir,
		Labels:      p.Labels,
		Annotations: p.Annotations,
		LogPath:     p.LogPath,
		Stdin:       p.Stdin,
		StdinOnce:   p.StdinOnce,
		Tty:         p.TTY,
		Linux: &runtimeapi.LinuxContainerConfig{
			Resources:       resources(p.Resources),
			SecurityContext: securityContext(p),
		},
	}
	for _, e := range p.Env {
		config.Envs = append(config.Envs, &runtimeapi.KeyValue{Key: e.Name, Value: []byte(e.Value)})
	}
	for _, m := range p.Mounts {
		config.Mounts = append(config.Mounts, mountTo(m, p))
	}
	for _, d := range p.Devices {
		config.Devices = append(config.Devices, &runtimeapi.Device{HostPath: d.HostPath, ContainerPath: d.ContainerPath, Permissions: d.Permissions})
	}
	return config
}

func resources(r runtime.Resources) *runtimeapi.LinuxContainerResources {
	out := &runtimeapi.LinuxContainerResources{
		CpuShares: r.CPUShares, CpuPeriod: r.CPUPeriod, CpuQuota: r.CPUQuota, CpusetCpus: r.CPUs,
		MemoryLimitInBytes: r.Memory, MemorySwapLimitInBytes: r.MemorySwap, OomScoreAdj: r.OOMScoreAdj, Unified: r.Unified,
	}
	for _, h := range r.Hugepages {
		out.HugepageLimits = append(out.HugepageLimits, &runtimeapi.HugepageLimit{PageSize: h.Size, Limit: h.Limit})
	}
	return out
}

func securityContext(p *runtime.Plan) *runtimeapi.LinuxContainerSecurityContext {
	s, n := p.Security, p.Namespaces
	out := &runtimeapi.LinuxContainerSecurityContext{
		Privileged: s.Privileged,
		NamespaceOptions: &runtimeapi.NamespaceOption{
			Network:       modeTo(n.Network),
			Pid:           modeTo(n.ProcessIDs),
			Ipc:           modeTo(n.IPC),
			TargetId:      n.TargetID,
			UsernsOptions: usersTo(n.Users),
		},
		RunAsUser:          valueTo(s.RunAsUser),
		RunAsUsername:      s.RunAsUsername,
		RunAsGroup:         valueTo(s.RunAsGroup),
		ReadonlyRootfs:     s.ReadOnlyRootfs,
		SupplementalGroups: s.SupplementalGroups,
		NoNewPrivs:         s.NoNewPrivileges,
		MaskedPaths:        s.MaskedPaths,
		ReadonlyPaths:      s.ReadonlyPaths,
		Seccomp:            profileTo(s.Seccomp),
		SelinuxOptions:     selinuxTo(s.SELinux),
	}
	out.Apparmor, out.ApparmorProfile = appArmorTo(s.AppArmor) //nolint:staticcheck // SA1019: kubelet sends the deprecated form too, for older runtimes
	if s.StrictGroups {
		out.SupplementalGroupsPolicy = runtimeapi.SupplementalGroupsPolicy_Strict
	}
	if s.Capabilities {
		out.Capabilities = &runtimeapi.Capability{AddCapabilities: s.AddCapabilities, DropCapabilities: s.DropCapabilities}
	}
	return out
}

// Render is the exact CreateContainerRequest of a plan as JSON, in the form in
// which containerd stores it and crictl reads it: the CRI's field
// names, enumerations as numbers. It asks nothing of the runtime.
func (c *Client) Render(p *runtime.Plan) ([]byte, error) {
	request, err := c.Request(p)
	if err != nil {
		return nil, err
	}
	doc, err := json.MarshalIndent(request, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("render request: %w", err)
	}
	return append(doc, '\n'), nil
}
