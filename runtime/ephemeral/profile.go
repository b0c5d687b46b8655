package ephemeral

import (
	"fmt"
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
// (k8s.io/kubectl pkg/cmd/debug/profiles.go): general, netadmin and sysadmin add
// to what the spec asks for, baseline and restricted replace its whole security
// context. An unknown name is an error of class [errdefs.ErrInvalidArgument].
func ApplyProfile(spec *corev1.EphemeralContainer, name string) error {
	switch name {
	case "legacy":
	case "general":
		addCapabilities(spec, "SYS_PTRACE")
	case "baseline":
		spec.SecurityContext = nil
	case "restricted":
		spec.SecurityContext = &corev1.SecurityContext{
			RunAsNonRoot:             new(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			AllowPrivilegeEscalation: new(false),
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		}
	case "netadmin":
		addCapabilities(spec, "NET_ADMIN", "NET_RAW")
	case "sysadmin":
		securityContext(spec).Privileged = new(true)
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

// addCapabilities adds also what is there already, as kubectl does.
func addCapabilities(spec *corev1.EphemeralContainer, names ...corev1.Capability) {
	sc := securityContext(spec)
	if sc.Capabilities == nil {
		sc.Capabilities = &corev1.Capabilities{}
	}
	sc.Capabilities.Add = append(sc.Capabilities.Add, names...)
}

// ProfileWarning is what kubectl prints for a profile that is on its way out
// (DebugOptions.Validate), empty for the others.
func ProfileWarning(name string) string {
	if name != "legacy" {
		return ""
	}
	return `--profile=legacy is deprecated and planned to be removed in v1.39. It is recommended to specify other profile, for example "--profile=general".`
}

// NonRootWarning is what kubectl prints (DebugOptions.displayWarning) when the
// pod's spec.securityContext.runAsUser, nil if not set, leaves the privileges of
// the finished spec without effect: the kernel gives a user other than root none
// of the capabilities that a container may have (kubectl#1650). Empty if not so.
func NonRootWarning(spec *corev1.EphemeralContainer, podRunAsUser *int64) string {
	sc := spec.SecurityContext
	if podRunAsUser == nil || *podRunAsUser == 0 || sc == nil || sc.RunAsUser != nil && *sc.RunAsUser == 0 {
		return ""
	}
	if !isTrue(sc.Privileged) && (sc.Capabilities == nil || len(sc.Capabilities.Add) == 0) {
		return ""
	}
	return `Warning: Non-root user is configured for the entire target Pod, and some capabilities granted by debug profile may not work. Please consider using "--custom" with a custom profile that specifies "securityContext.runAsUser: 0".`
}

// isTrue tells whether a setting is given and on.
func isTrue(b *bool) bool { return b != nil && *b }
