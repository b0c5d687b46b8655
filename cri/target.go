package cri

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/runtime"
)

func (c *Client) target(ctx context.Context, from runtime.Container) (*runtime.Target, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: from.ID, Verbose: true})
	if err != nil {
		return nil, fmt.Errorf("target container %q (%.13s): %w", from.Name, from.ID, classify(err))
	}
	var info containerInfo
	parseInfo(answer.GetInfo(), &info)
	status := answer.GetStatus()
	from.State = containerState(status.GetState())
	t := &runtime.Target{Container: from}
	if from.State == runtime.Running {
		// CRI-O goes on naming the pid of a container that has ended.
		t.PID = info.PID
	}
	for _, m := range status.GetMounts() {
		t.Mounts = append(t.Mounts, mountOf(m))
	}
	if info.Config != nil {
		describeTarget(t, info.Config)
	} else {
		fromSpec(t, info)
		describeResources(t, status.GetResources().GetLinux())
	}
	describeProcess(t, info.RuntimeSpec)
	return t, nil
}

// describeTarget reads what the plan must know of the configuration with which
// the target was created.
func describeTarget(t *runtime.Target, config *runtimeapi.ContainerConfig) {
	for _, e := range config.GetEnvs() {
		t.Env = append(t.Env, runtime.EnvVar{Name: e.GetKey(), Value: string(e.GetValue())})
	}
	t.Environ = t.Env
	if len(config.GetMounts()) > 0 {
		// The status leaves out some of what was asked for.
		t.Mounts = nil
	}
	for _, m := range config.GetMounts() {
		t.Mounts = append(t.Mounts, mountOf(m))
	}
	for _, d := range config.GetDevices() {
		t.Devices = append(t.Devices, runtime.Device{HostPath: d.GetHostPath(), ContainerPath: d.GetContainerPath(), Permissions: d.GetPermissions()})
	}
	sc := config.GetLinux().GetSecurityContext()
	t.SecurityKnown = sc != nil
	t.Security = runtime.Security{
		Privileged:         sc.GetPrivileged(),
		Capabilities:       sc.GetCapabilities() != nil,
		AddCapabilities:    sc.GetCapabilities().GetAddCapabilities(),
		DropCapabilities:   sc.GetCapabilities().GetDropCapabilities(),
		RunAsUser:          valueOf(sc.GetRunAsUser()),
		RunAsGroup:         valueOf(sc.GetRunAsGroup()),
		SupplementalGroups: sc.GetSupplementalGroups(),
		StrictGroups:       sc.GetSupplementalGroupsPolicy() == runtimeapi.SupplementalGroupsPolicy_Strict,
		ReadOnlyRootfs:     sc.GetReadonlyRootfs(),
		NoNewPrivileges:    sc.GetNoNewPrivs(),
		AppArmor:           profileOf(sc.GetApparmor()),
		SELinux:            selinuxOf(sc.GetSelinuxOptions()),
		MaskedPaths:        sc.GetMaskedPaths(),
		ReadonlyPaths:      sc.GetReadonlyPaths(),
	}
	if p := profileOf(sc.GetSeccomp()); p != nil {
		t.Security.Seccomp = *p
	}
	describeResources(t, config.GetLinux().GetResources())
}

// describeProcess adds what only the process itself shows: the users by number,
// and the image's part of the environment.
func describeProcess(t *runtime.Target, spec runtimeSpec) {
	if spec.Process == nil {
		return
	}
	user, group := spec.Process.User.UID, spec.Process.User.GID
	t.Security.RunAsUser, t.Security.RunAsUsername = &user, ""
	// The runtime gives the user's group of the image where none was asked for.
	if t.Security.RunAsGroup != nil || group != 0 {
		t.Security.RunAsGroup = &group
	}
	if len(spec.Process.Env) > 0 {
		t.Environ = environ(spec.Process.Env)
	}
}

func describeResources(t *runtime.Target, resources *runtimeapi.LinuxContainerResources) {
	if resources == nil {
		return
	}
	score, period := resources.GetOomScoreAdj(), resources.GetCpuPeriod()
	t.OOMScoreAdj, t.CPUPeriod = &score, &period
	t.Unified = resources.GetUnified()
	for _, h := range resources.GetHugepageLimits() {
		t.HugepageSizes = append(t.HugepageSizes, h.GetPageSize())
	}
}

// defaultCapabilities are those that CRI-O and containerd have in common for a
// container that asks for none; a bounding set is read against them.
var defaultCapabilities = []string{"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE", "KILL"}

// fromSpec reads from the OCI runtime spec what CRI-O does not tell otherwise.
func fromSpec(t *runtime.Target, info containerInfo) {
	spec := info.RuntimeSpec
	if spec.Process == nil {
		return
	}
	t.Env = environ(spec.Process.Env)
	t.SecurityKnown = true
	t.Security = runtime.Security{
		Privileged:         info.Privileged,
		SupplementalGroups: slices.DeleteFunc(slices.Clone(spec.Process.User.AdditionalGIDs), func(g int64) bool { return g == spec.Process.User.GID }),
		ReadOnlyRootfs:     spec.Root.ReadOnly,
		NoNewPrivileges:    spec.Process.NoNewPrivileges,
		Seccomp:            crioProfile(spec),
		SELinux:            selinuxLabel(spec.Process.SELinux),
		MaskedPaths:        spec.Linux.MaskedPaths,
		ReadonlyPaths:      spec.Linux.ReadonlyPaths,
	}
	if info.Privileged {
		t.Security.Seccomp = runtime.SecurityProfile{} // a privileged one has no filter, whatever was asked for
	} else {
		t.Security.Capabilities = true
		t.Security.AddCapabilities, t.Security.DropCapabilities = capabilitiesOf(spec.Process.Capabilities.Bounding)
	}
	switch name := spec.Process.AppArmor; {
	case name == "unconfined":
		t.Security.AppArmor = &runtime.SecurityProfile{Type: string(corev1.AppArmorProfileTypeUnconfined)}
	case name != "" && !strings.HasPrefix(name, "crio-default"):
		t.Security.AppArmor = &runtime.SecurityProfile{Type: string(corev1.AppArmorProfileTypeLocalhost), Ref: name}
	}
}

// capabilitiesOf writes a bounding set as what must be asked for to get it,
// whatever the runtime's defaults are.
func capabilitiesOf(bounding []string) (add, drop []string) {
	for _, c := range bounding {
		if name := strings.TrimPrefix(c, "CAP_"); !slices.Contains(defaultCapabilities, name) {
			add = append(add, name)
		}
	}
	if len(bounding) == 0 {
		return nil, []string{"ALL"}
	}
	for _, name := range defaultCapabilities {
		if !slices.Contains(bounding, "CAP_"+name) {
			drop = append(drop, name)
		}
	}
	return add, drop
}

// crioProfile reads CRI-O's annotation with the name of the profile, and without
// it whether there is a filter at all.
func crioProfile(spec runtimeSpec) runtime.SecurityProfile {
	kind := corev1.SeccompProfileTypeRuntimeDefault
	switch name := spec.Annotations[crioSeccomp]; {
	case path.IsAbs(name):
		return runtime.SecurityProfile{Type: string(corev1.SeccompProfileTypeLocalhost), Ref: name}
	case name == "Unconfined", !json.Valid(spec.Linux.Seccomp) || string(spec.Linux.Seccomp) == "null":
		kind = corev1.SeccompProfileTypeUnconfined
	}
	return runtime.SecurityProfile{Type: string(kind)}
}

// selinuxLabel takes a process label user:role:type:level apart.
func selinuxLabel(text string) *corev1.SELinuxOptions {
	parts := strings.SplitN(text, ":", 4)
	if len(parts) < 3 {
		return nil
	}
	out := &corev1.SELinuxOptions{User: parts[0], Role: parts[1], Type: parts[2]}
	if len(parts) == 4 {
		out.Level = parts[3]
	}
	return out
}

func environ(env []string) []runtime.EnvVar {
	var out []runtime.EnvVar
	for _, e := range env {
		if name, value, ok := strings.Cut(e, "="); ok {
			out = append(out, runtime.EnvVar{Name: name, Value: value})
		}
	}
	return out
}
