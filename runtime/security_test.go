package runtime

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

func num(n int64) *int64 { return &n }

// TestEffectiveUser: the container's own, else the pod's, else the image's,
// else root.
func TestEffectiveUser(t *testing.T) {
	for _, c := range []struct {
		what           string
		own, pod       *int64
		image          Image
		want           *int64
		wantName       string
		ownGrp, podGrp *int64
		wantGrp        *int64
	}{
		{what: "nobody says", want: num(0)},
		{what: "image, numeric", image: Image{UID: num(1001)}, want: num(1001)},
		{what: "image, by name", image: Image{Username: "web"}, wantName: "web"},
		{what: "pod over image", pod: num(1000), image: Image{UID: num(1001), Username: "web"}, want: num(1000), podGrp: num(3000), wantGrp: num(3000)},
		{what: "own over pod", own: num(7), pod: num(1000), want: num(7), ownGrp: num(8), podGrp: num(3000), wantGrp: num(8)},
		{what: "own is root", own: num(0), pod: num(1000), want: num(0)},
	} {
		f := &Facts{Image: c.image, Sandbox: Sandbox{RunAsUser: c.pod, RunAsGroup: c.podGrp}}
		spec := goodSpec()
		spec.SecurityContext = &corev1.SecurityContext{RunAsUser: c.own, RunAsGroup: c.ownGrp}
		s := planSecurity(f, spec)
		if !reflect.DeepEqual(s.RunAsUser, c.want) || s.RunAsUsername != c.wantName || !reflect.DeepEqual(s.RunAsGroup, c.wantGrp) {
			t.Errorf("%s: user %v %q, group %v", c.what, s.RunAsUser, s.RunAsUsername, s.RunAsGroup)
		}
	}
}

func TestSecurityOfThePod(t *testing.T) {
	f := &Facts{
		Sandbox:         Sandbox{SupplementalGroups: []int64{4000, 2000}, StrictGroups: true, Privileged: true},
		ThermalThrottle: []string{"/sys/devices/system/cpu/cpu0/thermal_throttle"},
	}
	s := planSecurity(f, goodSpec())
	if !slices.Equal(s.SupplementalGroups, []int64{4000, 2000}) || !s.StrictGroups {
		t.Errorf("groups %v, strict %v", s.SupplementalGroups, s.StrictGroups)
	}
	if s.Privileged || s.NoNewPrivileges || s.ReadOnlyRootfs || s.AddCapabilities != nil || s.DropCapabilities != nil {
		t.Errorf("inherited more than the pod's users: %+v", s)
	}
	if !slices.Contains(s.MaskedPaths, "/proc/kcore") || s.MaskedPaths[len(s.MaskedPaths)-1] != f.ThermalThrottle[0] {
		t.Errorf("masked paths %v", s.MaskedPaths)
	}
	if !slices.Contains(s.ReadonlyPaths, "/proc/sys") {
		t.Errorf("read-only paths %v", s.ReadonlyPaths)
	}
	// The lists of one plan are not those of the next.
	s.MaskedPaths[0] = "changed"
	if again := planSecurity(f, goodSpec()); again.MaskedPaths[0] == "changed" || maskedPaths[0] == "changed" {
		t.Error("two plans share a list")
	}
}

func TestSecurityOfTheContainer(t *testing.T) {
	yes, no, unmasked := true, false, corev1.UnmaskedProcMount
	spec := goodSpec()
	spec.SecurityContext = &corev1.SecurityContext{
		Privileged: &yes, ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no, ProcMount: &unmasked,
		Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_PTRACE"}, Drop: []corev1.Capability{"ALL"}},
	}
	s := planSecurity(&Facts{ThermalThrottle: []string{"/sys/x"}}, spec)
	if !s.Privileged || !s.ReadOnlyRootfs || !s.NoNewPrivileges {
		t.Errorf("%+v", s)
	}
	if !slices.Equal(s.AddCapabilities, []string{"SYS_PTRACE"}) || !slices.Equal(s.DropCapabilities, []string{"ALL"}) {
		t.Errorf("capabilities +%v -%v", s.AddCapabilities, s.DropCapabilities)
	}
	if s.MaskedPaths != nil || s.ReadonlyPaths != nil {
		t.Errorf("procMount Unmasked: %v, %v", s.MaskedPaths, s.ReadonlyPaths)
	}
	spec.SecurityContext.AllowPrivilegeEscalation = &yes
	if planSecurity(&Facts{}, spec).NoNewPrivileges {
		t.Error("no_new_privs although privilege escalation is allowed")
	}
}

func TestPlanSeccomp(t *testing.T) {
	file := "profiles/audit.json"
	runtimeDefault := SecurityProfile{Type: "RuntimeDefault"}
	unconfined := SecurityProfile{Type: "Unconfined"}
	for _, c := range []struct {
		what   string
		own    *corev1.SeccompProfile
		target *Target
		want   SecurityProfile
	}{
		{"nobody says", nil, nil, runtimeDefault},
		{"the target is not known", nil, &Target{}, runtimeDefault},
		{"the target's", nil, &Target{Seccomp: &unconfined}, unconfined},
		{"own over the target's", &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}, &Target{Seccomp: &unconfined}, runtimeDefault},
		{"a file", &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: &file}, nil, SecurityProfile{Type: "Localhost", Ref: file}},
	} {
		if got := planSeccomp(&Facts{Target: c.target}, &corev1.SecurityContext{SeccompProfile: c.own}); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.what, got, c.want)
		}
	}
}

// The refusals are kubelet's, word for word (pkg/kubelet/kuberuntime/security_context.go).
func TestVerifyRunAsNonRoot(t *testing.T) {
	const who = ` (pod: "web_prod(u1)", container: porthole-x)`
	for _, c := range []struct {
		what     string
		own, pod *int64
		image    Image
		refusal  string // without who and class; empty when it may run
	}{
		{"own user is root", num(0), nil, Image{UID: num(1)}, "container's runAsUser breaks non-root policy"},
		{"pod's user is root", nil, num(0), Image{UID: num(1)}, "container's runAsUser breaks non-root policy"},
		{"own user", num(5), num(0), Image{}, ""},
		{"pod's user", nil, num(1000), Image{UID: num(0)}, ""},
		{"image's user", nil, nil, Image{UID: num(1)}, ""},
		{"image is root", nil, nil, Image{UID: num(0)}, "container has runAsNonRoot and image will run as root"},
		{"image says nothing", nil, nil, Image{}, "container has runAsNonRoot and image will run as root"},
		{"image names a user", nil, nil, Image{Username: "web"}, "container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root"},
	} {
		f := &Facts{Pod: Pod{Namespace: "prod", Name: "web", UID: "u1"}, Sandbox: Sandbox{RunAsUser: c.pod}, Image: c.image}
		spec := goodSpec()
		if err := ApplyProfile(spec, "restricted"); err != nil {
			t.Fatal(err)
		}
		spec.SecurityContext.RunAsUser = c.own
		err := verifyRunAsNonRoot(f, spec)
		if c.refusal == "" {
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		if !errdefs.IsFailedPrecondition(err) || !strings.HasPrefix(err.Error(), c.refusal+who) {
			t.Errorf("%s: %v, want %s", c.what, err, c.refusal+who)
		}
	}
	no := false
	for what, sc := range map[string]*corev1.SecurityContext{"no context": nil, "nothing said": {}, "root is allowed": {RunAsNonRoot: &no}} {
		spec := goodSpec()
		spec.SecurityContext = sc
		if err := verifyRunAsNonRoot(&Facts{}, spec); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
