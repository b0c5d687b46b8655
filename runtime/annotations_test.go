package runtime

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/porthole-project/porthole/runtime/ephemeral"
)

// Hashes that a kubelet 1.37 computed for these containers.
func TestContainerHash(t *testing.T) {
	for _, c := range []struct{ name, image, want string }{
		{"debugger-abcde", "busybox:1.36", "7202d327"},
		{"dbg-plain-tty", "localhost/busybox:1", "ab447cda"},
	} {
		if got := containerHash(c.name, c.image); got != c.want {
			t.Errorf("%s with %s: %s, want %s", c.name, c.image, got, c.want)
		}
	}
}

func TestPlanAnnotations(t *testing.T) {
	spec := &corev1.EphemeralContainer{}
	spec.Name, spec.Image = "debugger-abcde", "busybox:1.36"
	ephemeral.Default(spec)
	grace := func(text string) Container {
		return Container{Annotations: map[string]string{annotationGracePeriod: text}}
	}
	ours := grace("7")
	ours.Labels = map[string]string{LabelSession: "abc"}
	base := map[string]string{
		annotationHash: "7202d327", annotationRestarts: "0",
		annotationTermPath: "/dev/termination-log", annotationTermPolicy: "File",
	}
	with := func(key, value string) map[string]string {
		m := maps.Clone(base)
		m[key] = value
		return m
	}
	for _, c := range []struct {
		what       string
		containers []Container
		want       map[string]string
	}{
		{"no other container", nil, base},
		{"the pod's grace period", []Container{{}, grace("30")}, with(annotationGracePeriod, "30")},
		{"not that of one of ours", []Container{ours}, base},
		{"not one that is no number", []Container{grace("soon")}, base},
		{"the next that is", []Container{grace("soon"), grace("5")}, with(annotationGracePeriod, "5")},
	} {
		if got := planAnnotations(&Facts{Containers: c.containers}, spec); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	spec.TerminationMessagePath, spec.TerminationMessagePolicy = "/tmp/why", corev1.TerminationMessageFallbackToLogsOnError
	got := planAnnotations(&Facts{}, spec)
	if got[annotationTermPath] != "/tmp/why" || got[annotationTermPolicy] != "FallbackToLogsOnError" {
		t.Errorf("%v", got)
	}
}
