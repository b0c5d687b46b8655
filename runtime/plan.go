package runtime

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"

	"github.com/porthole-project/porthole/runtime/ephemeral"
)

// Request is what a user asks for.
type Request struct {
	// Spec is the ephemeral container, its name already chosen.
	Spec corev1.EphemeralContainer
	// Mark identifies the session in the container's labels.
	Mark Mark
	// Remote is set for a caller who is not root on the node: what is not known is
	// then refused where the node's own root is only warned.
	Remote bool

	// What the API cannot say follows; none of it is part of the spec.

	// Share shows the target's mounts at the same paths.
	Share Sharing
	// CopyEnv copies the target's environment, but for what could make a shell or
	// loader run the target's code.
	CopyEnv bool
	// Username is a user by name, resolved by the runtime in the debug image.
	Username string
	Caps     Caps
}

// Namespaces says which namespaces the debug container shares.
type Namespaces struct {
	Network    NamespaceMode
	ProcessIDs NamespaceMode
	IPC        NamespaceMode
	Users      UserNamespace
	TargetID   string // the container ID for ModeTarget
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
	Devices     []Device
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
	// Warnings are lines for the user: what was taken strictly for want of
	// knowledge, and what is dangerous.
	Warnings []string
	// Native is Facts.Native, passed through to the rung that renders the plan.
	Native any
}

// NewPlan computes what kubelet would ask the runtime for, given the same
// ephemeral container in the same pod. It is a pure function. Requests that
// the API server or kubelet would refuse are refused here. While Facts.Image has
// no ID yet, the rules that depend on the image are left out.
func NewPlan(f *Facts, r Request) (*Plan, error) {
	r.Spec = *r.Spec.DeepCopy()
	spec := &r.Spec
	ephemeral.Default(spec)
	if err := ephemeral.Validate(spec, f.podFacts()); err != nil {
		return nil, err
	}
	if err := f.ready(); err != nil {
		return nil, err
	}
	if spec.TargetContainerName != "" && f.Target == nil {
		return nil, fmt.Errorf("unable to find target container %s: pod %s has none of that name now: %w", spec.TargetContainerName, f.Pod.FullName(), errdefs.ErrNotFound)
	}
	if slices.Contains(f.UsedNames, spec.Name) {
		return nil, fmt.Errorf("container name %q was used in pod %s before, and a name is used once; choose another: %w", spec.Name, f.Pod.FullName(), errdefs.ErrAlreadyExists)
	}
	pod := f.podSecurity()
	rootWarning, err := verifyRunAsNonRoot(f, r, pod)
	if err != nil {
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
		Security:     planSecurity(f, spec, pod),
		Resources:    planResources(f, r.Caps),
		Native:       f.Native,
	}
	if r.Username != "" {
		p.Security.RunAsUser, p.Security.RunAsUsername = nil, r.Username
	}
	p.Warnings = warnings(spec, pod, rootWarning)
	if err := p.addContent(f, r); err != nil {
		return nil, err
	}
	// Last, as the runtime would find out only when all else was right.
	if err := f.targetRuns(); err != nil {
		return nil, err
	}
	return p, nil
}

// addContent adds what refers to other objects: environment, mounts, devices.
func (p *Plan) addContent(f *Facts, r Request) (err error) {
	spec := &r.Spec
	var copied []EnvVar
	if r.CopyEnv {
		if f.Target == nil {
			return fmt.Errorf("there is no target whose environment could be copied; name one with --target: %w", errdefs.ErrInvalidArgument)
		}
		var dropped []string
		if copied, dropped = copiedEnv(f.Target); len(dropped) > 0 {
			p.Warnings = append(p.Warnings, "Not copied from the target's environment, since a shell or loader would act on it: "+strings.Join(dropped, ", ")+".")
		}
	}
	if p.Env, err = planEnv(f, spec, copied); err != nil {
		return err
	}
	p.Command, p.Args = expandAll(spec.Command, p.Env), expandAll(spec.Args, p.Env)
	var skipped []string
	if p.Mounts, skipped, err = planMounts(f, r); err != nil {
		return err
	}
	if len(skipped) > 0 {
		p.Warnings = append(p.Warnings, "Not shared of the target's mounts, since a container must have its own there: "+strings.Join(skipped, ", ")+".")
	}
	p.Devices, err = planDevices(f, spec)
	return err
}

// warnings says what the user should know of the security of what is planned.
func warnings(spec *corev1.EphemeralContainer, pod podSecurity, root string) []string {
	var out []string
	assumed := pod.assumed
	if sc := spec.SecurityContext; sc != nil && sc.SeccompProfile != nil {
		assumed = slices.DeleteFunc(slices.Clone(assumed), func(a string) bool { return strings.HasPrefix(a, "seccomp ") })
	}
	if len(assumed) > 0 {
		out = append(out, fmt.Sprintf("What the pod's spec says of security is not known here; read strictly: %s (--verbose says more).", strings.Join(assumed, ", ")))
	}
	if root != "" {
		out = append(out, "Warning: "+root)
	}
	return out
}

// podFacts is what the API's own checks need of the pod.
func (f *Facts) podFacts() ephemeral.PodFacts {
	facts := ephemeral.PodFacts{Known: f.Spec != nil, HostUsers: f.Sandbox.Users.Mode != ModePod}
	if f.Spec == nil {
		for _, c := range f.Containers {
			if IsOurs(c.Labels) {
				facts.Ephemeral = append(facts.Ephemeral, c.Name)
			} else if !slices.Contains(facts.Containers, c.Name) {
				facts.Containers = append(facts.Containers, c.Name)
			}
		}
		return facts
	}
	spec := &f.Spec.Spec
	for _, c := range spec.Containers {
		facts.Containers = append(facts.Containers, c.Name)
	}
	for _, c := range spec.InitContainers {
		facts.InitContainers = append(facts.InitContainers, c.Name)
	}
	for _, c := range spec.EphemeralContainers {
		facts.Ephemeral = append(facts.Ephemeral, c.Name)
	}
	known := slices.Concat(facts.Containers, facts.InitContainers, facts.Ephemeral)
	for _, c := range f.Containers {
		// A live status of that name counts, too: ours are in no spec.
		if !slices.Contains(known, c.Name) {
			known = append(known, c.Name)
			facts.Ephemeral = append(facts.Ephemeral, c.Name)
		}
	}
	facts.Volumes = map[string]corev1.VolumeSource{}
	for _, v := range spec.Volumes {
		facts.Volumes[v.Name] = v.VolumeSource
	}
	return facts
}

// ErrForeignKernel is the class of the refusal to open a pod that does not run
// on the node's kernel: its processes have no namespaces there that could be
// compared, so nothing could be proved.
var ErrForeignKernel error = &kernelError{}

type kernelError struct{}

func (*kernelError) Error() string { return "the pod runs on a kernel of its own" }
func (*kernelError) Unwrap() error { return errdefs.ErrNotImplemented }

// ready refuses what no runtime would accept, in words that say what to do.
func (f *Facts) ready() error {
	if f.Sandbox.Kernel != "" {
		return fmt.Errorf("pod %s: its sandbox is run by %s, so that no namespace can be proved to be shared from the node; open it through its own runtime (kubectl debug): %w",
			f.Pod.FullName(), f.Sandbox.Kernel, ErrForeignKernel)
	}
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
	return nil
}

// targetRuns refuses a target without a process, in the runtime's words.
func (f *Facts) targetRuns() error {
	if t := f.Target; t != nil && f.sharesTarget() && t.State != Running {
		return fmt.Errorf("invalid target container %q of pod %s: container %q is not running - in state CONTAINER_%s; choose another with --target, or --target= for none: %w",
			t.Name, f.Pod.FullName(), t.ID, strings.ToUpper(string(t.State)), errdefs.ErrFailedPrecondition)
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

// sharesTarget reports whether TARGET mode applies: there is a target and the
// pod's PID namespaces are per container. With hostPID or
// shareProcessNamespace kubelet ignores the target silently, since its
// processes are visible anyway (kubelet generateLinuxContainerConfig).
func (f *Facts) sharesTarget() bool {
	return f.Target != nil && f.Sandbox.ProcessIDs == ModeContainer
}

// sibling is a container of the pod from which to read what is common to all.
func (f *Facts) sibling() *Target {
	if f.Target != nil {
		return f.Target
	}
	return f.Neighbour
}

// siblingSpec is the sibling with its specification; both are nil where one of
// them is not known.
func (f *Facts) siblingSpec() (*Target, *corev1.Container) {
	t := f.sibling()
	if t == nil {
		return nil, nil
	}
	c := f.container(t.Name)
	if c == nil {
		return nil, nil
	}
	return t, c
}
