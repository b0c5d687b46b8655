package ephemeral

import (
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// FuzzDecode: no document makes us panic, every error has its class, what was
// read can be written and read again, and what is valid has no field that is not
// allowed.
func FuzzDecode(f *testing.F) {
	for _, doc := range []string{
		"name: a\nimage: b\nenv: [{name: A, value: '1'}]", `{"name":"a","image":"b","volumeMounts":[{"name":"data","mountPath":"/a"}]}`,
		"kind: Pod\napiVersion: v1\nmetadata: {name: a}", "a: &a [b]\nc: *a\n---\n- d", "name: 3\nsecurityContext: {runAsUser: x}", "{name: a, image: b, ports: []}",
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		spec, err := Decode(doc)
		if err != nil {
			if !errdefs.IsInvalidArgument(err) || spec != nil {
				t.Fatalf("%v, %v", spec, err)
			}
			return
		}
		if text, err := Encode(spec); err == nil {
			if again, err := Decode(text); err != nil || !equality.Semantic.DeepEqual(spec, again) {
				t.Fatalf("%v, %v from %s", again, err, text)
			}
		}
		Default(spec)
		again := spec.DeepCopy()
		if Default(again); !equality.Semantic.DeepEqual(spec, again) {
			t.Fatalf("defaults change what has them: %v, %v", spec, again)
		}
		if err := Validate(spec, somePod); err == nil {
			onlyAllowed(t, spec)
		} else if !errdefs.IsInvalidArgument(err) {
			t.Fatal(err)
		}
	})
}

// onlyAllowed clears by hand what an ephemeral container may have.
func onlyAllowed(t *testing.T, spec *corev1.EphemeralContainer) {
	t.Helper()
	rest := spec.DeepCopy()
	rest.TargetContainerName = ""
	rest.Name, rest.Image, rest.Command, rest.Args, rest.WorkingDir, rest.EnvFrom, rest.Env = "", "", nil, nil, "", nil, nil
	rest.VolumeMounts, rest.VolumeDevices, rest.TerminationMessagePath, rest.TerminationMessagePolicy = nil, nil, "", ""
	rest.ImagePullPolicy, rest.SecurityContext, rest.Stdin, rest.StdinOnce, rest.TTY = "", nil, false, false, false
	if !equality.Semantic.DeepEqual(rest, &corev1.EphemeralContainer{}) {
		t.Fatalf("valid with %v", rest)
	}
	for _, m := range spec.VolumeMounts {
		if m.SubPath != "" || m.SubPathExpr != "" {
			t.Fatalf("valid with %v", m)
		}
	}
}

// FuzzApplyCustom: a custom profile never panics and never changes what kubectl
// keeps from it.
func FuzzApplyCustom(f *testing.F) {
	f.Add("name: a\nenv: [{name: A, value: '1'}, {name: A}]", "env: [{name: B}, {name: A}, {name: B}]")
	f.Add("volumeMounts: [{name: a, mountPath: /a}]", `{"volumeMounts":[{"mountPath":"/a"},{"name":"b"}],"ports":[{}]}`)
	f.Fuzz(func(t *testing.T, doc, custom string) {
		spec, err := Decode([]byte(doc))
		if err != nil {
			return
		}
		before := spec.DeepCopy()
		err = ApplyCustom(spec, []byte(custom))
		if err != nil && !errdefs.IsInvalidArgument(err) {
			t.Fatal(err)
		}
		if spec.Name != before.Name || spec.Image != before.Image || !equality.Semantic.DeepEqual(spec.Command, before.Command) ||
			spec.TargetContainerName != before.TargetContainerName || !equality.Semantic.DeepEqual(spec.VolumeDevices, before.VolumeDevices) {
			t.Fatalf("%v became %v", before, spec)
		}
	})
}
