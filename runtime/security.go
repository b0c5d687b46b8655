package runtime

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Security is the effective security context of a container.
type Security struct {
	Privileged bool
	// Capabilities is set if any are named, be it an empty list.
	Capabilities       bool
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
	AppArmor           *SecurityProfile // nil leaves it to the runtime's default
	SELinux            *corev1.SELinuxOptions
	MaskedPaths        []string
	ReadonlyPaths      []string
}

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

// podSecurity is what the pod says for all of its containers.
type podSecurity struct {
	user, group *int64
	nonRoot     *bool // nil for unset
	groups      []int64
	strict      bool
	seccomp     *SecurityProfile
	appArmor    *SecurityProfile
	selinux     *corev1.SELinuxOptions
	// assumed says in which points a rule was read strictly, since nobody tells
	// what the pod says.
	assumed []string
}

// podSecurity reads the pod's spec, or else what kubelet put of it into the
// sandbox and what another container shows of it.
func (f *Facts) podSecurity() podSecurity {
	if f.Spec == nil {
		return f.inferredSecurity()
	}
	s := podSecurity{}
	sc := f.Spec.Spec.SecurityContext
	if sc == nil {
		sc = &corev1.PodSecurityContext{}
	}
	s.user, s.group, s.nonRoot, s.selinux = sc.RunAsUser, sc.RunAsGroup, sc.RunAsNonRoot, sc.SELinuxOptions
	if sc.FSGroup != nil {
		s.groups = append(s.groups, *sc.FSGroup)
	}
	s.groups = append(s.groups, sc.SupplementalGroups...)
	s.groups = append(s.groups, f.volumeGroups(s.groups)...)
	s.strict = sc.SupplementalGroupsPolicy != nil && *sc.SupplementalGroupsPolicy == corev1.SupplementalGroupsPolicyStrict
	if p := sc.SeccompProfile; p != nil {
		profile := f.seccompOf(p)
		s.seccomp = &profile
	} else {
		profile, known := f.seccompDefault()
		s.seccomp = &profile
		if !known {
			s.assumed = append(s.assumed, "seccomp RuntimeDefault, since neither the pod nor a container of it tells kubelet's default")
		}
	}
	if p := sc.AppArmorProfile; p != nil {
		s.appArmor = appArmorOf(p)
	}
	return s
}

// volumeGroups are the groups that kubelet adds for persistent volumes
// (pv.beta.kubernetes.io/gid): what the sandbox has beyond those of the spec. One
// may be a group that the spec has, too.
func (f *Facts) volumeGroups(known []int64) []int64 {
	if !f.Sandbox.UsersKnown {
		return nil
	}
	extra := slices.Clone(f.Sandbox.SupplementalGroups)
	for _, g := range known {
		if i := slices.Index(extra, g); i >= 0 {
			extra = slices.Delete(extra, i, i+1)
		}
	}
	return extra
}

// seccompDefault is what a container without any profile gets: kubelet's
// setting, or what another container that has none was given.
func (f *Facts) seccompDefault() (profile SecurityProfile, known bool) {
	if d := f.Node.SeccompDefault; d != nil {
		if *d {
			return SecurityProfile{Type: string(corev1.SeccompProfileTypeRuntimeDefault)}, true
		}
		return SecurityProfile{Type: string(corev1.SeccompProfileTypeUnconfined)}, true
	}
	if t, c := f.siblingSpec(); t != nil && t.SecurityKnown && t.Security.Seccomp.Type != "" &&
		(c.SecurityContext == nil || c.SecurityContext.SeccompProfile == nil) {
		return t.Security.Seccomp, true
	}
	return SecurityProfile{Type: string(corev1.SeccompProfileTypeRuntimeDefault)}, false
}

// inferredSecurity is for a pod whose spec nobody tells. Kubelet writes users
// and groups into the sandbox's configuration; the profiles are only in each
// container's, where they may be that container's own, so the stricter reading
// is taken and named.
func (f *Facts) inferredSecurity() podSecurity {
	b := &f.Sandbox
	s := podSecurity{user: b.RunAsUser, group: b.RunAsGroup, groups: b.SupplementalGroups, strict: b.StrictGroups, selinux: b.SELinux}
	sibling := f.sibling()
	known := sibling != nil && sibling.SecurityKnown
	if !b.UsersKnown && known {
		// Another container's users are the pod's or its own image's. That one is
		// root says nothing: the debug image's own user may be another.
		if user := sibling.Security.RunAsUser; user != nil && *user != 0 {
			s.user, s.group = user, sibling.Security.RunAsGroup
		}
		s.groups = sibling.Security.SupplementalGroups
		s.assumed = append(s.assumed, fmt.Sprintf("user and groups of container %q", sibling.Name))
	}
	s.seccomp = &SecurityProfile{Type: string(corev1.SeccompProfileTypeRuntimeDefault)}
	if known && sibling.Security.Seccomp.Type != "" && sibling.Security.Seccomp.Type != string(corev1.SeccompProfileTypeUnconfined) {
		profile := sibling.Security.Seccomp
		s.seccomp = &profile
	} else {
		s.assumed = append(s.assumed, "seccomp RuntimeDefault")
	}
	if known && sibling.Security.AppArmor != nil {
		if sibling.Security.AppArmor.Type == string(corev1.AppArmorProfileTypeUnconfined) {
			s.assumed = append(s.assumed, "AppArmor's default")
		} else {
			s.appArmor = sibling.Security.AppArmor
		}
	}
	return s
}

// container is the spec of a container or init container of the pod, nil if it
// is not known.
func (f *Facts) container(name string) *corev1.Container {
	if f.Spec == nil {
		return nil
	}
	for _, list := range [][]corev1.Container{f.Spec.Spec.Containers, f.Spec.Spec.InitContainers} {
		if i := slices.IndexFunc(list, func(c corev1.Container) bool { return c.Name == name }); i >= 0 {
			return &list[i]
		}
	}
	return nil
}

// planSecurity is kubelet's determineEffectiveSecurityContext: the pod's
// security context overlaid by the container's own. Nothing is inherited from
// the target.
func planSecurity(f *Facts, spec *corev1.EphemeralContainer, pod podSecurity) Security {
	sc := spec.SecurityContext
	if sc == nil {
		sc = &corev1.SecurityContext{}
	}
	s := Security{
		Privileged:         isTrue(sc.Privileged),
		ReadOnlyRootfs:     isTrue(sc.ReadOnlyRootFilesystem),
		NoNewPrivileges:    sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation,
		RunAsGroup:         first(sc.RunAsGroup, pod.group),
		SupplementalGroups: pod.groups,
		StrictGroups:       pod.strict,
		Seccomp:            *pod.seccomp,
		AppArmor:           pod.appArmor,
		SELinux:            pod.selinux,
		MaskedPaths:        slices.Concat(maskedPaths, f.Node.ThermalThrottle),
		ReadonlyPaths:      slices.Clone(readonlyPaths),
	}
	if sc.ProcMount != nil && *sc.ProcMount == corev1.UnmaskedProcMount {
		s.MaskedPaths, s.ReadonlyPaths = nil, nil
	}
	if caps := sc.Capabilities; caps != nil {
		s.Capabilities = true
		for _, c := range caps.Add {
			s.AddCapabilities = append(s.AddCapabilities, string(c))
		}
		for _, c := range caps.Drop {
			s.DropCapabilities = append(s.DropCapabilities, string(c))
		}
	}
	if p := sc.SeccompProfile; p != nil {
		s.Seccomp = f.seccompOf(p)
	}
	if p := sc.AppArmorProfile; p != nil {
		s.AppArmor = appArmorOf(p)
	} else if p := appArmorAnnotation(f, spec.Name); p != nil {
		s.AppArmor = p
	}
	if sc.SELinuxOptions != nil {
		s.SELinux = sc.SELinuxOptions
	}
	// Without a user in either security context kubelet takes the image's own.
	s.RunAsUser = first(sc.RunAsUser, pod.user)
	if s.RunAsUser == nil {
		s.RunAsUser = f.Image.UID
		if s.RunAsUser == nil {
			s.RunAsUsername = f.Image.Username
		}
	}
	if s.RunAsUser == nil && s.RunAsUsername == "" {
		s.RunAsUser = new(int64)
	}
	return s
}

// seccompOf is kubelet's fieldSeccompProfile: the file of a Localhost profile
// lies in kubelet's own directory of them.
func (f *Facts) seccompOf(p *corev1.SeccompProfile) SecurityProfile {
	out := SecurityProfile{Type: string(p.Type)}
	if p.Type == corev1.SeccompProfileTypeLocalhost && p.LocalhostProfile != nil {
		out.Ref = path.Join(f.Node.SeccompRoot, *p.LocalhostProfile)
	}
	return out
}

func appArmorOf(p *corev1.AppArmorProfile) *SecurityProfile {
	out := &SecurityProfile{Type: string(p.Type)}
	if p.LocalhostProfile != nil {
		out.Ref = *p.LocalhostProfile
	}
	return out
}

// appArmorAnnotation is the pod's deprecated annotation for a container of this
// name (pkg/security/apparmor, getProfileFromPodAnnotations).
func appArmorAnnotation(f *Facts, name string) *SecurityProfile {
	annotations := f.Pod.Annotations
	if f.Spec != nil {
		annotations = f.Spec.Annotations
	}
	text := annotations[corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+name]
	switch ref, local := strings.CutPrefix(text, corev1.DeprecatedAppArmorBetaProfileNamePrefix); {
	case text == corev1.DeprecatedAppArmorBetaProfileRuntimeDefault:
		return &SecurityProfile{Type: string(corev1.AppArmorProfileTypeRuntimeDefault)}
	case text == corev1.DeprecatedAppArmorBetaProfileNameUnconfined:
		return &SecurityProfile{Type: string(corev1.AppArmorProfileTypeUnconfined)}
	case local:
		return &SecurityProfile{Type: string(corev1.AppArmorProfileTypeLocalhost), Ref: ref}
	}
	return nil
}

// verifyRunAsNonRoot is kubelet's function of that name, in its words: no
// runtime checks the rule. It returns a warning where nobody tells whether the
// pod sets it; a caller who is not on the node is refused then.
func verifyRunAsNonRoot(f *Facts, r Request, pod podSecurity) (warning string, err error) {
	sc := r.Spec.SecurityContext
	if sc == nil {
		sc = &corev1.SecurityContext{}
	}
	required := pod.nonRoot
	if sc.RunAsNonRoot != nil {
		required = sc.RunAsNonRoot
	}
	user := first(sc.RunAsUser, pod.user)
	if r.Username != "" {
		user = nil // it takes the place of any number
	}
	if f.Image.ID == "" && user == nil && r.Username == "" {
		return "", nil // the image is not looked at yet
	}
	why := rootReason(f, user, r.Username)
	switch {
	case why == "" || required != nil && !*required:
		return "", nil
	case required != nil:
		return "", fmt.Errorf("%s (pod: %q, container: %s): %w", why,
			fmt.Sprintf("%s_%s(%s)", f.Pod.Name, f.Pod.Namespace, f.Pod.UID), r.Spec.Name, errdefs.ErrFailedPrecondition)
	case f.Spec != nil || f.rootTarget():
		return "", nil
	case r.Remote:
		return "", fmt.Errorf("whether pod %s forbids containers that run as root (runAsNonRoot) is not known (%s), and this one would; give it another user, or open it on the node: %w",
			f.Pod.FullName(), f.SpecSource, errdefs.ErrFailedPrecondition)
	}
	return "whether the pod forbids containers that run as root (runAsNonRoot) is not known, and this one does.", nil
}

// rootReason says in kubelet's words why a container must be taken to run as
// root, or nothing.
func rootReason(f *Facts, user *int64, username string) string {
	switch {
	case user != nil && *user == 0:
		return "container's runAsUser breaks non-root policy"
	case user != nil:
		return ""
	case username != "":
		return fmt.Sprintf("container has runAsNonRoot and non-numeric user (%s), cannot verify user is non-root", username)
	case f.Image.UID == nil && f.Image.Username != "":
		return fmt.Sprintf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root", f.Image.Username)
	case f.Image.UID == nil || *f.Image.UID == 0:
		return "container has runAsNonRoot and image will run as root"
	}
	if errs := validation.IsValidUserID(*f.Image.UID); len(errs) > 0 {
		return fmt.Sprintf("container has runAsNonRoot and image has an invalid user id (%d). (Must be 1-(2147483647)): %s", *f.Image.UID, strings.Join(errs, "; "))
	}
	return ""
}

// rootTarget reports whether another container of the pod runs as root, which
// proves that the pod does not forbid it.
func (f *Facts) rootTarget() bool {
	t := f.sibling()
	return t != nil && t.SecurityKnown && t.Security.RunAsUser != nil && *t.Security.RunAsUser == 0
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

// PodUser is the user that the pod says for all of its containers, nil for none
// or where nobody tells.
func (f *Facts) PodUser() *int64 { return f.podSecurity().user }
