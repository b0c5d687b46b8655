package runtime

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

// AsTargetWarning is what whoever opens a container with its target's own
// security context must know: with equal capabilities and user, the kernel lets
// the target trace the debugger as well as the other way round.
const AsTargetWarning = "Warning: with the target's own security context the target can read and change this session too (its memory, files and environment under /proc). Do not type secrets."

// AsTarget gives the spec the security context that the target runs with, as
// far as the API has words for it. The target's users are the numbers that its
// process was started with, so that the debug image's own names do not matter.
func AsTarget(spec *corev1.EphemeralContainer, f *Facts) error {
	t := f.Target
	if t == nil {
		return fmt.Errorf("there is no target whose security context could be taken; name one with --target: %w", errdefs.ErrInvalidArgument)
	}
	if !t.SecurityKnown {
		return fmt.Errorf("the runtime does not tell the security context of container %q; choose a profile: %w", t.Name, errdefs.ErrUnavailable)
	}
	s := t.Security
	sc := &corev1.SecurityContext{RunAsUser: s.RunAsUser, RunAsGroup: s.RunAsGroup, SELinuxOptions: s.SELinux}
	if s.Privileged {
		sc.Privileged = &s.Privileged
	}
	if s.ReadOnlyRootfs {
		sc.ReadOnlyRootFilesystem = &s.ReadOnlyRootfs
	}
	if s.NoNewPrivileges {
		no := false
		sc.AllowPrivilegeEscalation = &no
	}
	if len(s.AddCapabilities)+len(s.DropCapabilities) > 0 {
		sc.Capabilities = &corev1.Capabilities{Add: capabilities(s.AddCapabilities), Drop: capabilities(s.DropCapabilities)}
	}
	if s.Seccomp.Type != "" {
		sc.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileType(s.Seccomp.Type)}
		if sc.SeccompProfile.Type == corev1.SeccompProfileTypeLocalhost {
			profile, err := filepath.Rel(f.Node.SeccompRoot, s.Seccomp.Ref)
			if err != nil || strings.HasPrefix(profile, "..") {
				return fmt.Errorf("the seccomp profile %s of container %q is not one of kubelet's (%s): %w", s.Seccomp.Ref, t.Name, f.Node.SeccompRoot, errdefs.ErrFailedPrecondition)
			}
			sc.SeccompProfile.LocalhostProfile = &profile
		}
	}
	if p := s.AppArmor; p != nil {
		sc.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileType(p.Type)}
		if p.Ref != "" {
			sc.AppArmorProfile.LocalhostProfile = &p.Ref
		}
	}
	if f.Sandbox.Users.Mode == ModePod && len(s.MaskedPaths) == 0 {
		unmasked := corev1.UnmaskedProcMount
		sc.ProcMount = &unmasked
	}
	spec.SecurityContext = sc
	return nil
}

func capabilities(names []string) []corev1.Capability {
	var out []corev1.Capability
	for _, name := range names {
		out = append(out, corev1.Capability(name))
	}
	return out
}
