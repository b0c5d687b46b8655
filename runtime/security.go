package runtime

import (
	"fmt"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

// maskedPaths and readonlyPaths are those that kubelet 1.37 sends for the
// default procMount. They must be sent: containerd takes an empty list to mean
// that nothing is masked.
var (
	maskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// planSecurity is kubelet's determineEffectiveSecurityContext: the pod's
// security context overlaid by the container's own. Nothing is inherited from
// the target.
func planSecurity(f *Facts, spec *corev1.EphemeralContainer) Security {
	sc := spec.SecurityContext
	if sc == nil {
		sc = &corev1.SecurityContext{}
	}
	s := Security{
		Privileged:         isTrue(sc.Privileged),
		ReadOnlyRootfs:     isTrue(sc.ReadOnlyRootFilesystem),
		NoNewPrivileges:    sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation,
		RunAsGroup:         first(sc.RunAsGroup, f.Sandbox.RunAsGroup),
		SupplementalGroups: f.Sandbox.SupplementalGroups,
		StrictGroups:       f.Sandbox.StrictGroups,
		Seccomp:            planSeccomp(f, sc),
		MaskedPaths:        append(append([]string(nil), maskedPaths...), f.ThermalThrottle...),
		ReadonlyPaths:      readonlyPaths,
	}
	if sc.ProcMount != nil && *sc.ProcMount == corev1.UnmaskedProcMount {
		s.MaskedPaths, s.ReadonlyPaths = nil, nil
	}
	if caps := sc.Capabilities; caps != nil {
		for _, c := range caps.Add {
			s.AddCapabilities = append(s.AddCapabilities, string(c))
		}
		for _, c := range caps.Drop {
			s.DropCapabilities = append(s.DropCapabilities, string(c))
		}
	}
	// Without a user in either security context kubelet takes the image's own.
	s.RunAsUser = first(sc.RunAsUser, f.Sandbox.RunAsUser)
	if s.RunAsUser == nil {
		s.RunAsUser, s.RunAsUsername = f.Image.UID, f.Image.Username
	}
	if s.RunAsUser == nil && s.RunAsUsername == "" {
		s.RunAsUser = new(int64)
	}
	return s
}

// planSeccomp takes the container's own profile. The pod's is not in the
// sandbox's configuration (kubelet always writes RuntimeDefault there), so the
// target's stands for it: where the pod has one the target has it too, and
// where only the target has one this is the stricter reading. Unknown is
// RuntimeDefault.
func planSeccomp(f *Facts, sc *corev1.SecurityContext) SecurityProfile {
	if p := sc.SeccompProfile; p != nil {
		out := SecurityProfile{Type: string(p.Type)}
		if p.LocalhostProfile != nil {
			out.Ref = *p.LocalhostProfile
		}
		return out
	}
	if sibling := f.sibling(); sibling != nil && sibling.Seccomp != nil {
		return *sibling.Seccomp
	}
	return SecurityProfile{Type: string(corev1.SeccompProfileTypeRuntimeDefault)}
}

// verifyRunAsNonRoot is kubelet's function of that name, in its words: no
// runtime checks the rule.
func verifyRunAsNonRoot(f *Facts, spec *corev1.EphemeralContainer) error {
	sc := spec.SecurityContext
	if sc == nil || !isTrue(sc.RunAsNonRoot) {
		return nil
	}
	user := first(sc.RunAsUser, f.Sandbox.RunAsUser)
	refuse := func(why string) error {
		return fmt.Errorf("%s (pod: %q, container: %s): %w", why,
			fmt.Sprintf("%s_%s(%s)", f.Pod.Name, f.Pod.Namespace, f.Pod.UID), spec.Name, errdefs.ErrFailedPrecondition)
	}
	switch {
	case user != nil && *user == 0:
		return refuse("container's runAsUser breaks non-root policy")
	case user != nil:
		return nil
	case f.Image.UID != nil && *f.Image.UID == 0:
		return refuse("container has runAsNonRoot and image will run as root")
	case f.Image.UID == nil && f.Image.Username != "":
		return refuse(fmt.Sprintf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root", f.Image.Username))
	case f.Image.UID == nil:
		return refuse("container has runAsNonRoot and image will run as root")
	}
	return nil
}

func isTrue(b *bool) bool { return b != nil && *b }

func first(values ...*int64) *int64 {
	for _, v := range values {
		if v != nil {
			return v
		}
	}
	return nil
}
