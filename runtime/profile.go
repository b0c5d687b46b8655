package runtime

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

// DefaultProfile is kubectl 1.37's default too.
const DefaultProfile = "general"

// Profiles are the names that [ApplyProfile] knows, in kubectl's order.
func Profiles() []string {
	return []string{"general", "baseline", "restricted", "netadmin", "sysadmin", "legacy"}
}

// ApplyProfile changes the spec as kubectl 1.37 does for an ephemeral container
// (k8s.io/kubectl pkg/cmd/debug/profiles.go). Unlike the target's own security
// context, a profile grants only what its name promises.
func ApplyProfile(spec *corev1.EphemeralContainer, name string) error {
	switch name {
	case "legacy":
	case "general":
		addCapabilities(spec, "SYS_PTRACE")
	case "baseline":
		spec.SecurityContext = nil
	case "restricted":
		yes, no := true, false
		spec.SecurityContext = &corev1.SecurityContext{
			RunAsNonRoot:             &yes,
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			AllowPrivilegeEscalation: &no,
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		}
	case "netadmin":
		addCapabilities(spec, "NET_ADMIN", "NET_RAW")
	case "sysadmin":
		yes := true
		securityContext(spec).Privileged = &yes
	default:
		return fmt.Errorf("profile %q is not known, use one of %s: %w", name, strings.Join(Profiles(), ", "), errdefs.ErrInvalidArgument)
	}
	return nil
}

func securityContext(spec *corev1.EphemeralContainer) *corev1.SecurityContext {
	if spec.SecurityContext == nil {
		spec.SecurityContext = &corev1.SecurityContext{}
	}
	return spec.SecurityContext
}

func addCapabilities(spec *corev1.EphemeralContainer, names ...corev1.Capability) {
	sc := securityContext(spec)
	if sc.Capabilities == nil {
		sc.Capabilities = &corev1.Capabilities{}
	}
	for _, name := range names {
		if !slices.Contains(sc.Capabilities.Add, name) {
			sc.Capabilities.Add = append(sc.Capabilities.Add, name)
		}
	}
}
