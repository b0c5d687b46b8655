package runtime

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestChooseTarget(t *testing.T) {
	ours := map[string]string{LabelSession: "abc"}
	c := func(name string, second int, state State) Container {
		return Container{ID: podID("c0ffee0" + name), PodID: "p", Name: name, Created: at(second), State: state}
	}
	debug := c("porthole-x", 9, Running)
	debug.Labels = ours
	annotated := Pod{Namespace: "prod", Name: "web", Annotations: map[string]string{AnnotationDefaultContainer: "side"}}
	plain := Pod{Namespace: "prod", Name: "web"}
	for _, k := range []struct {
		what       string
		pod        Pod
		containers []Container
		want       string
		target     string
		note       string // part of it; empty for no note
	}{
		{"named", plain, []Container{c("app", 1, Running), c("side", 2, Running)}, "side", "side", ""},
		{"named by ID", plain, []Container{c("app", 1, Running), c("side", 2, Running)}, podID("c0ffee0side"), "side", ""},
		{"named by a prefix of 12", plain, []Container{c("app", 1, Running)}, podID("c0ffee0app")[:12], "app", ""},
		{"named, dead", plain, []Container{c("app", 1, Exited)}, "app", "app", ""},
		{"a named one of ours", plain, []Container{c("app", 1, Running), debug}, "porthole-x", "porthole-x", ""},
		{"annotation", annotated, []Container{c("app", 1, Running), c("side", 2, Running)}, "", "side", "annotation " + AnnotationDefaultContainer},
		{"name over annotation", annotated, []Container{c("app", 1, Running), c("side", 2, Running)}, "app", "app", ""},
		{"annotation of nobody", annotated, []Container{c("app", 1, Running)}, "", "app", "the only one running"},
		{"only running", plain, []Container{c("init", 1, Exited), c("app", 2, Running)}, "", "app", "the only one running"},
		{"ours do not count", plain, []Container{debug, c("app", 1, Running)}, "", "app", "the only one running"},
		{"first of several", plain, []Container{c("side", 2, Running), c("app", 1, Running)}, "", "app", "the first of app, side; --target"},
		{"none running", plain, []Container{c("app", 1, Exited), c("side", 2, Exited)}, "", "app", "none is running"},
		{"newest attempt", plain, []Container{{ID: "old", PodID: "p", Name: "app", Created: at(1), State: Exited}, c("app", 2, Running)}, "app", "app", ""},
	} {
		got, err := ChooseTarget(k.pod, k.containers, k.want)
		if err != nil || got.Container.Name != k.target {
			t.Errorf("%s: %q, %v; want %q", k.what, got.Container.Name, err, k.target)
			continue
		}
		if (got.Note == "") != (k.note == "") || !strings.Contains(got.Note, k.note) {
			t.Errorf("%s: note %q, want one with %q", k.what, got.Note, k.note)
		}
	}
	if got, _ := ChooseTarget(plain, []Container{{ID: "old", PodID: "p", Name: "app", Created: at(1)}, c("app", 2, Running)}, "app"); got.Container.ID == "old" {
		t.Error("an earlier attempt was chosen")
	}
}

func TestChooseTargetRefuses(t *testing.T) {
	pod := Pod{Namespace: "prod", Name: "web", Annotations: map[string]string{AnnotationDefaultContainer: "porthole-x"}}
	ours := Container{ID: podID("0"), Name: "porthole-x", State: Running, Labels: map[string]string{LabelSession: "abc"}}
	app := Container{ID: podID("1"), Name: "app", State: Running}
	for _, c := range []struct {
		what       string
		containers []Container
		want       string
		is         func(error) bool
		says       string
	}{
		{"unknown name", []Container{app}, "db", errdefs.IsNotFound, `no container "db" (it has app)`},
		{"too short a prefix of an ID", []Container{app}, "10000000000", errdefs.IsNotFound, "it has app"},
		{"nothing in the pod", nil, "app", errdefs.IsNotFound, "it has none"},
		{"only ours, and the annotation names it", []Container{ours}, "", errdefs.IsFailedPrecondition, "--target="},
		{"an empty pod", nil, "", errdefs.IsFailedPrecondition, "pod prod/web"},
	} {
		got, err := ChooseTarget(pod, c.containers, c.want)
		if !c.is(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v; want one that says %q", c.what, got, err, c.says)
		}
	}
	// With an app beside it ours is not taken even if the annotation says so.
	if got, err := ChooseTarget(pod, []Container{ours, app}, ""); err != nil || got.Container.Name != "app" {
		t.Errorf("%+v, %v", got, err)
	}
}
