package ephemeral

import (
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

func TestApplyProfile(t *testing.T) {
	caps := func(add ...corev1.Capability) *corev1.SecurityContext {
		return &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: add}}
	}
	restricted := &corev1.SecurityContext{
		RunAsNonRoot: new(true), AllowPrivilegeEscalation: new(false),
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	for _, c := range []struct {
		profile      string
		before, want *corev1.SecurityContext
	}{
		{"legacy", nil, nil},
		{"legacy", caps("A"), caps("A")},
		{"general", nil, caps("SYS_PTRACE")},
		{"general", caps("SYS_PTRACE", "A"), caps("SYS_PTRACE", "A", "SYS_PTRACE")},
		{"baseline", caps("A"), nil},
		{"baseline", nil, nil},
		{"restricted", nil, restricted},
		{"restricted", caps("A"), restricted},
		{"netadmin", nil, caps("NET_ADMIN", "NET_RAW")},
		{"netadmin", caps("NET_RAW"), caps("NET_RAW", "NET_ADMIN", "NET_RAW")},
		{"sysadmin", nil, &corev1.SecurityContext{Privileged: new(true)}},
	} {
		spec := &corev1.EphemeralContainer{}
		spec.SecurityContext = c.before.DeepCopy()
		if err := ApplyProfile(spec, c.profile); err != nil {
			t.Errorf("%s: %v", c.profile, err)
		}
		if !reflect.DeepEqual(spec.SecurityContext, c.want) {
			t.Errorf("%s on %v: %v, want %v", c.profile, c.before, spec.SecurityContext, c.want)
		}
	}
}

func TestApplyProfileKnowsAllOfItsNames(t *testing.T) {
	for _, name := range append(Profiles(), DefaultProfile) {
		if err := ApplyProfile(&corev1.EphemeralContainer{}, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := ApplyProfile(&corev1.EphemeralContainer{}, "root")
	if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), strings.Join(Profiles(), ", ")) {
		t.Errorf("an unknown one: %v", err)
	}
}

func TestProfileWarning(t *testing.T) {
	for _, name := range Profiles() {
		if got := ProfileWarning(name); (got != "") != (name == "legacy") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestNonRootWarning(t *testing.T) {
	privileged := &corev1.SecurityContext{Privileged: new(true)}
	for _, c := range []struct {
		what string
		sc   *corev1.SecurityContext
		pod  *int64
		warn bool
	}{
		{"nothing is known of the pod", privileged, nil, false},
		{"the pod is root's", privileged, new(int64(0)), false},
		{"privileged", privileged, new(int64(1)), true},
		{"no security context", nil, new(int64(1)), false},
		{"no privileges", &corev1.SecurityContext{Privileged: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"A"}}}, new(int64(1)), false},
		{"a capability", &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"A"}}}, new(int64(1)), true},
		{"the container is root's", &corev1.SecurityContext{Privileged: new(true), RunAsUser: new(int64(0))}, new(int64(1)), false},
		{"the container is someone's", &corev1.SecurityContext{Privileged: new(true), RunAsUser: new(int64(2))}, new(int64(1)), true},
	} {
		spec := &corev1.EphemeralContainer{}
		spec.SecurityContext = c.sc
		if got := NonRootWarning(spec, c.pod); (got != "") != c.warn {
			t.Errorf("%s: %q", c.what, got)
		}
	}
}
