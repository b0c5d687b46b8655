package runtime

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"

	"github.com/porthole-project/porthole/runtime/ephemeral"
)

func num(n int64) *int64 { return &n }

// podOf is a pod with this security context.
func podOf(sc corev1.PodSecurityContext) *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{SecurityContext: &sc}}
}

// secure is the effective context of a spec with this context of its own.
func secure(f *Facts, sc *corev1.SecurityContext) Security {
	spec := goodSpec()
	spec.SecurityContext = sc
	return planSecurity(f, spec, f.podSecurity())
}

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
		{what: "image, both ways", image: Image{UID: num(1001), Username: "web"}, want: num(1001)},
		{what: "image, by name", image: Image{Username: "web"}, wantName: "web"},
		{what: "pod over image", pod: num(1000), image: Image{UID: num(1001), Username: "web"}, want: num(1000), podGrp: num(3000), wantGrp: num(3000)},
		{what: "own over pod", own: num(7), pod: num(1000), want: num(7), ownGrp: num(8), podGrp: num(3000), wantGrp: num(8)},
		{what: "own is root", own: num(0), pod: num(1000), want: num(0)},
	} {
		for how, f := range map[string]*Facts{
			"by its spec":    {Image: c.image, Spec: podOf(corev1.PodSecurityContext{RunAsUser: c.pod, RunAsGroup: c.podGrp})},
			"by its sandbox": {Image: c.image, Sandbox: Sandbox{UsersKnown: true, RunAsUser: c.pod, RunAsGroup: c.podGrp}},
		} {
			s := secure(f, &corev1.SecurityContext{RunAsUser: c.own, RunAsGroup: c.ownGrp})
			if !reflect.DeepEqual(s.RunAsUser, c.want) || s.RunAsUsername != c.wantName || !reflect.DeepEqual(s.RunAsGroup, c.wantGrp) {
				t.Errorf("%s, %s: user %v %q, group %v", c.what, how, s.RunAsUser, s.RunAsUsername, s.RunAsGroup)
			}
		}
	}
}

func TestSecurityOfThePod(t *testing.T) {
	strict := corev1.SupplementalGroupsPolicyStrict
	f := &Facts{
		Sandbox: Sandbox{UsersKnown: true, SupplementalGroups: []int64{2000, 77, 2000, 4000}, Privileged: true},
		Node:    Node{ThermalThrottle: []string{"/sys/devices/system/cpu/cpu0/thermal_throttle"}},
		Spec:    podOf(corev1.PodSecurityContext{FSGroup: num(2000), SupplementalGroups: []int64{4000}, SupplementalGroupsPolicy: &strict, SELinuxOptions: &corev1.SELinuxOptions{Level: "s0:c1"}}),
	}
	s := secure(f, nil)
	// 77 is of a volume, and 2000 of one more: kubelet puts such groups last for a
	// container.
	if !slices.Equal(s.SupplementalGroups, []int64{2000, 4000, 77, 2000}) || !s.StrictGroups {
		t.Errorf("groups %v, strict %v", s.SupplementalGroups, s.StrictGroups)
	}
	if s.SELinux == nil || s.SELinux.Level != "s0:c1" {
		t.Errorf("SELinux %v", s.SELinux)
	}
	if s.Privileged || s.NoNewPrivileges || s.ReadOnlyRootfs || s.AddCapabilities != nil || s.DropCapabilities != nil || s.AppArmor != nil {
		t.Errorf("inherited more than the pod's users: %+v", s)
	}
	if !slices.Contains(s.MaskedPaths, "/proc/kcore") || s.MaskedPaths[len(s.MaskedPaths)-1] != f.Node.ThermalThrottle[0] {
		t.Errorf("masked paths %v", s.MaskedPaths)
	}
	if !slices.Contains(s.ReadonlyPaths, "/proc/sys") {
		t.Errorf("read-only paths %v", s.ReadonlyPaths)
	}
	// The lists of one plan are not those of the next.
	s.MaskedPaths[0], s.ReadonlyPaths[0] = "changed", "changed"
	if again := secure(f, nil); again.MaskedPaths[0] == "changed" || readonlyPaths[0] == "changed" {
		t.Error("two plans share a list")
	}
}

func TestSecurityOfTheContainer(t *testing.T) {
	yes, no, unmasked := true, false, corev1.UnmaskedProcMount
	sc := &corev1.SecurityContext{
		Privileged: &yes, ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no, ProcMount: &unmasked,
		Capabilities:    &corev1.Capabilities{Add: []corev1.Capability{"SYS_PTRACE"}, Drop: []corev1.Capability{"ALL"}},
		SELinuxOptions:  &corev1.SELinuxOptions{Type: "spc_t"},
		AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined},
	}
	f := &Facts{Node: Node{ThermalThrottle: []string{"/sys/x"}}, Spec: podOf(corev1.PodSecurityContext{
		SELinuxOptions: &corev1.SELinuxOptions{Level: "s0"}, AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeRuntimeDefault},
	})}
	s := secure(f, sc)
	if !s.Privileged || !s.ReadOnlyRootfs || !s.NoNewPrivileges || s.SELinux.Type != "spc_t" || s.SELinux.Level != "" || s.AppArmor.Type != "Unconfined" {
		t.Errorf("%+v", s)
	}
	if !slices.Equal(s.AddCapabilities, []string{"SYS_PTRACE"}) || !slices.Equal(s.DropCapabilities, []string{"ALL"}) {
		t.Errorf("capabilities +%v -%v", s.AddCapabilities, s.DropCapabilities)
	}
	if s.MaskedPaths != nil || s.ReadonlyPaths != nil {
		t.Errorf("procMount Unmasked: %v, %v", s.MaskedPaths, s.ReadonlyPaths)
	}
	sc.AllowPrivilegeEscalation = &yes
	if secure(f, sc).NoNewPrivileges {
		t.Error("no_new_privs although privilege escalation is allowed")
	}
}

var (
	runtimeDefault = SecurityProfile{Type: "RuntimeDefault"}
	unconfined     = SecurityProfile{Type: "Unconfined"}
)

// TestPlanSeccomp: the container's own, else the pod's, else kubelet's default.
// What nobody tells is read strictly, and said.
func TestPlanSeccomp(t *testing.T) {
	file, yes, no := "profiles/audit.json", true, false
	of := func(p SecurityProfile) *Target {
		return &Target{Container: Container{Name: "app"}, SecurityKnown: true, Security: Security{Seccomp: p}}
	}
	plain := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}}
	own := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", SecurityContext: &corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{}}}}}}
	local := &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: &file}
	there := SecurityProfile{Type: "Localhost", Ref: "/k/seccomp/" + file}
	for _, c := range []struct {
		what    string
		facts   Facts
		own     *corev1.SeccompProfile
		want    SecurityProfile
		assumed bool
	}{
		{"own", Facts{Spec: podOf(corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: "Unconfined"}})}, local, there, false},
		{"the pod's", Facts{Spec: podOf(corev1.PodSecurityContext{SeccompProfile: local})}, nil, there, false},
		{"kubelet's default", Facts{Spec: plain, Node: Node{SeccompDefault: &no}}, nil, unconfined, false},
		{"kubelet's other default", Facts{Spec: plain, Node: Node{SeccompDefault: &yes}, Target: of(unconfined)}, nil, runtimeDefault, false},
		{"as a container without any shows it", Facts{Spec: plain, Target: of(unconfined)}, nil, unconfined, false},
		{"a container that has its own shows nothing", Facts{Spec: own, Target: of(unconfined)}, nil, runtimeDefault, true},
		{"nobody tells", Facts{}, nil, runtimeDefault, true},
		{"without the spec, the target's", Facts{Target: of(there)}, nil, there, false},
		{"without the spec, not a laxer one", Facts{Target: of(unconfined)}, nil, runtimeDefault, true},
	} {
		c.facts.Node.SeccompRoot = "/k/seccomp"
		if got := secure(&c.facts, &corev1.SecurityContext{SeccompProfile: c.own}).Seccomp; got != c.want {
			t.Errorf("%s: %+v, want %+v", c.what, got, c.want)
		}
		if got := strings.Join(c.facts.podSecurity().assumed, " "); strings.Contains(got, "seccomp") != c.assumed {
			t.Errorf("%s: assumed %q", c.what, got)
		}
	}
}

func TestPlanAppArmor(t *testing.T) {
	local := "web"
	annotated := func(text string) *corev1.Pod {
		p := podOf(corev1.PodSecurityContext{AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: &local}})
		p.Annotations = map[string]string{corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix + "porthole-x": text}
		return p
	}
	target := func(p *SecurityProfile) *Target {
		return &Target{SecurityKnown: true, Security: Security{AppArmor: p}}
	}
	for what, c := range map[string]struct {
		facts Facts
		want  *SecurityProfile
	}{
		"nobody says":                        {Facts{Spec: &corev1.Pod{}}, nil},
		"the pod's":                          {Facts{Spec: annotated("")}, &SecurityProfile{"Localhost", "web"}},
		"the annotation over it":             {Facts{Spec: annotated("localhost/other")}, &SecurityProfile{"Localhost", "other"}},
		"the annotation, default":            {Facts{Spec: annotated("runtime/default")}, &SecurityProfile{Type: "RuntimeDefault"}},
		"the annotation, none":               {Facts{Spec: annotated("unconfined")}, &SecurityProfile{Type: "Unconfined"}},
		"without the spec, the target's":     {Facts{Target: target(&SecurityProfile{"Localhost", "web"})}, &SecurityProfile{"Localhost", "web"}},
		"without the spec, not that of none": {Facts{Target: target(&unconfined)}, nil},
	} {
		if got := secure(&c.facts, nil).AppArmor; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", what, got, c.want)
		}
	}
}

// The refusals are kubelet's, word for word (pkg/kubelet/kuberuntime/security_context_others.go).
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
		{"image is nonsense", nil, nil, Image{UID: num(1 << 40)}, "container has runAsNonRoot and image has an invalid user id (1099511627776)"},
	} {
		c.image.ID = "sha256:0"
		f := &Facts{Pod: Pod{Namespace: "prod", Name: "web", UID: "u1"}, Sandbox: Sandbox{RunAsUser: c.pod}, Image: c.image}
		r := goodRequest()
		if err := ephemeral.ApplyProfile(&r.Spec, "restricted"); err != nil {
			t.Fatal(err)
		}
		r.Spec.SecurityContext.RunAsUser = c.own
		_, err := verifyRunAsNonRoot(f, r, f.podSecurity())
		if c.refusal == "" {
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		if !errdefs.IsFailedPrecondition(err) || !strings.HasPrefix(err.Error(), c.refusal) || !strings.Contains(err.Error(), who) {
			t.Errorf("%s: %v, want %s", c.what, err, c.refusal+who)
		}
	}
	named := &Facts{Spec: podOf(corev1.PodSecurityContext{RunAsNonRoot: new(true), RunAsUser: num(1000)})}
	r := goodRequest()
	r.Username = "root"
	if _, err := verifyRunAsNonRoot(named, r, named.podSecurity()); err == nil {
		t.Error("a user by name takes the place of the pod's, and nobody knows that it is not root")
	}
	f := &Facts{Image: Image{ID: "sha256:0"}, Spec: podOf(corev1.PodSecurityContext{RunAsNonRoot: new(true)})}
	r = goodRequest()
	if _, err := verifyRunAsNonRoot(f, r, f.podSecurity()); err == nil {
		t.Error("the pod forbids root, the container says nothing, and the image is root's")
	}
	r.Spec.SecurityContext = &corev1.SecurityContext{RunAsNonRoot: new(false)}
	if _, err := verifyRunAsNonRoot(f, r, f.podSecurity()); err != nil {
		t.Errorf("the container's own word comes first: %v", err)
	}
	if f.Image.ID = ""; f.Spec.Spec.SecurityContext != nil {
		r.Spec.SecurityContext = nil
		if _, err := verifyRunAsNonRoot(f, r, f.podSecurity()); err != nil {
			t.Errorf("refused for an image that was not looked at yet: %v", err)
		}
	}
}

// What is not known is a warning for the node's root and a refusal for anybody
// else, unless another container proves that root is allowed.
func TestRunAsNonRootUnknown(t *testing.T) {
	ran := func(user int64) *Target {
		return &Target{SecurityKnown: true, Security: Security{RunAsUser: &user}}
	}
	for what, c := range map[string]struct {
		facts           Facts
		remote          bool
		warned, refused bool
	}{
		"root on the node":     {Facts{}, false, true, false},
		"somebody else":        {Facts{}, true, false, true},
		"a root target":        {Facts{Target: ran(0)}, true, false, false},
		"a target that is not": {Facts{Sandbox: Sandbox{UsersKnown: true}, Target: ran(1000)}, true, false, true},
		"CRI-O: as the target": {Facts{Target: ran(1000)}, true, false, false},
		"the spec is known":    {Facts{Spec: &corev1.Pod{}}, true, false, false},
		"it does not run as root": {Facts{Sandbox: Sandbox{UsersKnown: true, RunAsUser: num(5)}}, true, false,
			false},
	} {
		c.facts.Image.ID = "sha256:0"
		r := goodRequest()
		r.Remote = c.remote
		warning, err := verifyRunAsNonRoot(&c.facts, r, c.facts.podSecurity())
		if (warning != "") != c.warned || (err != nil) != c.refused || err != nil && !errdefs.IsFailedPrecondition(err) {
			t.Errorf("%s: %q, %v", what, warning, err)
		}
	}
}

func TestAsTarget(t *testing.T) {
	f := goodFacts()
	f.Node.SeccompRoot = "/k/seccomp"
	f.Target.Security = Security{
		RunAsUser: num(1000), RunAsGroup: num(3000), NoNewPrivileges: true, ReadOnlyRootfs: true, Capabilities: true, DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"NET_BIND_SERVICE"},
		Seccomp: SecurityProfile{"Localhost", "/k/seccomp/web.json"}, AppArmor: &SecurityProfile{"Localhost", "web"}, MaskedPaths: maskedPaths,
	}
	spec := goodSpec()
	if err := AsTarget(spec, f); err != nil {
		t.Fatal(err)
	}
	s := planSecurity(f, spec, f.podSecurity())
	s.MaskedPaths, s.ReadonlyPaths, s.SupplementalGroups = f.Target.Security.MaskedPaths, nil, nil
	if !reflect.DeepEqual(s, f.Target.Security) {
		t.Errorf("got  %+v\nwant %+v", s, f.Target.Security)
	}
	f.Target.Security.Seccomp.Ref = "/elsewhere/web.json"
	if err := AsTarget(spec, f); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("a profile that the API cannot name: %v", err)
	}
	f.Target.SecurityKnown = false
	if err := AsTarget(spec, f); !errdefs.IsUnavailable(err) {
		t.Errorf("nothing is known: %v", err)
	}
	f.Target = nil
	if err := AsTarget(spec, f); !errdefs.IsInvalidArgument(err) {
		t.Errorf("no target: %v", err)
	}
}
