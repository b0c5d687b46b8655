package runtime

import (
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

func TestApplyProfile(t *testing.T) {
	yes, no := true, false
	caps := func(add ...corev1.Capability) *corev1.SecurityContext {
		return &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: add}}
	}
	restricted := &corev1.SecurityContext{
		RunAsNonRoot: &yes, AllowPrivilegeEscalation: &no,
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
		{"general", caps("SYS_PTRACE", "A"), caps("SYS_PTRACE", "A")},
		{"baseline", caps("A"), nil},
		{"baseline", nil, nil},
		{"restricted", nil, restricted},
		{"restricted", caps("A"), restricted},
		{"netadmin", nil, caps("NET_ADMIN", "NET_RAW")},
		{"netadmin", caps("NET_RAW"), caps("NET_RAW", "NET_ADMIN")},
		{"sysadmin", nil, &corev1.SecurityContext{Privileged: &yes}},
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
	for _, name := range Profiles() {
		if err := ApplyProfile(&corev1.EphemeralContainer{}, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := ApplyProfile(&corev1.EphemeralContainer{}, "root")
	if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), strings.Join(Profiles(), ", ")) {
		t.Errorf("an unknown one: %v", err)
	}
	if err := ApplyProfile(&corev1.EphemeralContainer{}, DefaultProfile); err != nil {
		t.Errorf("the default one: %v", err)
	}
}
