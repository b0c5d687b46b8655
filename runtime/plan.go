package runtime

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

// Request is what a user asks for.
type Request struct {
	// Spec is the ephemeral container, its name already chosen.
	Spec corev1.EphemeralContainer
	// Mark identifies the session in the container's labels.
	Mark Mark
}

// Security is the effective security context of the debug container.
type Security struct {
	Privileged         bool
	AddCapabilities    []string
	DropCapabilities   []string
	RunAsUser          *int64
	RunAsUsername      string
	RunAsGroup         *int64
	SupplementalGroups []int64
	StrictGroups       bool
	ReadOnlyRootfs     bool
	NoNewPrivileges    bool
	Seccomp            SecurityProfile
	MaskedPaths        []string
	ReadonlyPaths      []string
}

// Namespaces says which namespaces the debug container shares.
type Namespaces struct {
	Network    NamespaceMode
	ProcessIDs NamespaceMode
	IPC        NamespaceMode
	Users      UserNamespace
	TargetID   string // the container ID for ModeTarget
}

// Resources are what kubelet writes for an ephemeral container, which can have
// neither requests nor limits.
type Resources struct {
	CPUShares     int64
	CPUPeriod     int64 // microseconds
	OOMScoreAdj   int64
	HugepageSizes []string // each with limit 0
}

// Plan is the exact, deterministic description of the container to create. It
// is neutral: each rung renders it into its own request.
type Plan struct {
	Name        string
	Pod         Pod
	Image       Image
	Command     []string
	Args        []string
	WorkingDir  string
	Env         []EnvVar
	Mounts      []Mount
	Labels      map[string]string
	Annotations map[string]string
	// LogDirectory is a host path, LogPath is relative to it. Neither is ever
	// empty: kubelet's log clean-up would glob its own working directory
	// (kubernetes#107717).
	LogDirectory string
	LogPath      string
	Stdin        bool
	StdinOnce    bool
	TTY          bool
	Namespaces   Namespaces
	Security     Security
	Resources    Resources
	// Native is Facts.Native, passed through to the rung that renders the plan.
	Native any
}

// NewPlan computes what kubelet would ask the runtime for, given the same
// ephemeral container in the same pod. It is a pure function. Requests that
// the API server or kubelet would refuse are refused here.
func NewPlan(f *Facts, r Request) (*Plan, error) {
	spec := &r.Spec
	if err := Validate(spec, f.Containers); err != nil {
		return nil, err
	}
	if err := f.ready(); err != nil {
		return nil, err
	}
	if err := verifyRunAsNonRoot(f, spec); err != nil {
		return nil, err
	}
	p := &Plan{
		Name:         spec.Name,
		Pod:          f.Pod,
		Image:        f.Image,
		WorkingDir:   spec.WorkingDir,
		Labels:       planLabels(f, r),
		Annotations:  planAnnotations(f, spec),
		LogDirectory: f.Sandbox.LogDirectory,
		LogPath:      path.Join(spec.Name, "0.log"),
		Stdin:        spec.Stdin,
		StdinOnce:    spec.StdinOnce,
		TTY:          spec.TTY,
		Namespaces:   planNamespaces(f),
		Security:     planSecurity(f, spec),
		Resources:    planResources(f),
		Native:       f.Native,
	}
	p.Env = planEnv(f, spec)
	vars := map[string]string{}
	for _, e := range p.Env {
		vars[e.Name] = e.Value
	}
	p.Command, p.Args = expandAll(spec.Command, vars), expandAll(spec.Args, vars)
	p.Mounts = planMounts(f, spec)
	return p, nil
}

// ready refuses what no runtime would accept, in words that say what to do.
func (f *Facts) ready() error {
	if f.Pod.State != Ready {
		return fmt.Errorf("pod %s: its sandbox %.13s is not ready, nothing can be started in it: %w", f.Pod.FullName(), f.Pod.ID, errdefs.ErrFailedPrecondition)
	}
	for _, key := range []string{LabelPodName, LabelPodNamespace, LabelPodUID} {
		if f.Pod.Labels[key] == "" {
			return fmt.Errorf("pod %s: its sandbox %.13s has no label %s, so kubelet would kill a container in it: %w", f.Pod.FullName(), f.Pod.ID, key, errdefs.ErrFailedPrecondition)
		}
	}
	if f.Sandbox.LogDirectory == "" {
		return fmt.Errorf("pod %s: the runtime does not tell its log directory, and without one kubelet's clean-up could remove foreign files: %w", f.Pod.FullName(), errdefs.ErrFailedPrecondition)
	}
	if t := f.Target; t != nil && f.sharesTarget() && t.State != Running {
		return fmt.Errorf("invalid target container %q of pod %s: it is not running but %s; choose another with --target, or --target= for none: %w",
			t.Name, f.Pod.FullName(), t.State, errdefs.ErrFailedPrecondition)
	}
	return nil
}

func planLabels(f *Facts, r Request) map[string]string {
	labels := r.Mark.Labels()
	for _, key := range []string{LabelPodName, LabelPodNamespace, LabelPodUID} {
		labels[key] = f.Pod.Labels[key]
	}
	labels[LabelContainerName] = r.Spec.Name
	return labels
}

func planNamespaces(f *Facts) Namespaces {
	n := Namespaces{Network: f.Sandbox.Network, ProcessIDs: f.Sandbox.ProcessIDs, IPC: f.Sandbox.IPC, Users: f.Sandbox.Users}
	if f.sharesTarget() {
		n.ProcessIDs, n.TargetID = ModeTarget, f.Target.ID
	}
	return n
}

func planResources(f *Facts) Resources {
	// MinShares and the default period: kubelet's generateLinuxContainerResources
	// for a container with neither requests nor limits.
	r := Resources{CPUShares: 2, CPUPeriod: 100000, OOMScoreAdj: f.qosOOMScore(), HugepageSizes: f.HugepageSizes}
	if sibling := f.sibling(); len(r.HugepageSizes) == 0 && sibling != nil {
		r.HugepageSizes = sibling.HugepageSizes
	}
	return r
}

func planMounts(f *Facts, spec *corev1.EphemeralContainer) []Mount {
	var mounts []Mount
	if f.Files.EtcHosts != "" {
		mounts = append(mounts, Mount{HostPath: f.Files.EtcHosts, ContainerPath: "/etc/hosts", Relabel: relabels(f, "/etc/hosts")})
	}
	if f.Files.TerminationLog != "" {
		at := spec.TerminationMessagePath
		if at == "" {
			at = corev1.TerminationMessagePathDefault
		}
		mounts = append(mounts, Mount{HostPath: f.Files.TerminationLog, ContainerPath: at, Relabel: relabels(f, at)})
	}
	return mounts
}

// relabels reports whether kubelet asked for SELinux relabelling of the
// target's mount at the same place: it does so on nodes with SELinux only.
func relabels(f *Facts, at string) bool {
	sibling := f.sibling()
	if sibling == nil {
		return false
	}
	i := slices.IndexFunc(sibling.Mounts, func(m Mount) bool { return m.ContainerPath == at })
	return i >= 0 && sibling.Mounts[i].Relabel
}

// planEnv is the declared environment, then the service variables, which
// kubelet gives to every container of a pod and which are read from one's own
// environment.
func planEnv(f *Facts, spec *corev1.EphemeralContainer) []EnvVar {
	declared := map[string]string{}
	var env []EnvVar
	var services []EnvVar
	if sibling := f.sibling(); sibling != nil {
		services = serviceVars(sibling.Env)
	}
	// A declared variable may refer to service variables and to earlier ones.
	known := map[string]string{}
	for _, e := range services {
		known[e.Name] = e.Value
	}
	for _, e := range spec.Env {
		value := Expand(e.Value, func(name string) (string, bool) { v, ok := known[name]; return v, ok })
		known[e.Name] = value
		if _, again := declared[e.Name]; again {
			env = slices.DeleteFunc(env, func(old EnvVar) bool { return old.Name == e.Name })
		}
		declared[e.Name] = value
		env = append(env, EnvVar{e.Name, value})
	}
	for _, e := range services {
		if _, taken := declared[e.Name]; !taken {
			env = append(env, e)
		}
	}
	return env
}

func expandAll(in []string, vars map[string]string) []string {
	if len(in) == 0 {
		return nil
	}
	out := make([]string, 0, len(in))
	for _, s := range in {
		out = append(out, Expand(s, func(name string) (string, bool) { v, ok := vars[name]; return v, ok }))
	}
	return out
}

// serviceVars picks, out of a container's environment, the variables that
// kubelet derives from the services of the namespace: for each service NAME
// there is NAME_SERVICE_HOST, and with it a known family.
// (kubelet pkg/kubelet/envvars/envvars.go)
func serviceVars(env []EnvVar) []EnvVar {
	have := map[string]bool{}
	for _, e := range env {
		have[e.Name] = true
	}
	prefixes := slices.Collect(func(yield func(string) bool) {
		for name := range maps.Keys(have) {
			if p, ok := strings.CutSuffix(name, "_SERVICE_HOST"); ok && have[p+"_SERVICE_PORT"] && !yield(p) {
				return
			}
		}
	})
	var out []EnvVar
	for _, e := range env {
		if slices.ContainsFunc(prefixes, func(p string) bool {
			rest, ok := strings.CutPrefix(e.Name, p+"_")
			return ok && isServiceVar(rest)
		}) {
			out = append(out, e)
		}
	}
	return out
}

// isServiceVar judges what follows the service's name and an underscore:
// SERVICE_HOST, SERVICE_PORT, SERVICE_PORT_<NAME>, PORT and
// PORT_<NUMBER>_<PROTO>, alone or with _PROTO, _PORT or _ADDR behind.
func isServiceVar(rest string) bool {
	if rest == "SERVICE_HOST" || rest == "SERVICE_PORT" || rest == "PORT" || strings.HasPrefix(rest, "SERVICE_PORT_") {
		return true
	}
	parts := strings.Split(rest, "_")
	if parts[0] != "PORT" || len(parts) < 3 || len(parts) > 4 || strings.Trim(parts[1], "0123456789") != "" {
		return false
	}
	protocol := parts[2] == "TCP" || parts[2] == "UDP" || parts[2] == "SCTP"
	return protocol && (len(parts) == 3 || parts[3] == "PROTO" || parts[3] == "PORT" || parts[3] == "ADDR")
}
