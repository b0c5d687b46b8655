package runtime

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

// goodSpec is one that nothing is wrong with.
func goodSpec() *corev1.EphemeralContainer {
	spec := &corev1.EphemeralContainer{}
	spec.Name, spec.Image = "porthole-x", "busybox:1.36"
	return spec
}

func TestValidateAccepts(t *testing.T) {
	for what, change := range map[string]func(*corev1.EphemeralContainer){
		"the least":     func(*corev1.EphemeralContainer) {},
		"a name of 63":  func(s *corev1.EphemeralContainer) { s.Name = strings.Repeat("a", 63) },
		"a working dir": func(s *corev1.EphemeralContainer) { s.WorkingDir = "/processes" },
		"odd env names": func(s *corev1.EphemeralContainer) {
			s.Env = []corev1.EnvVar{{Name: "a.b-c d", Value: "=\n\xff"}, {Name: "~"}}
		},
		"any other byte": func(s *corev1.EphemeralContainer) {
			s.Command = []string{"sh", "-c", "\x1b\xff\n"}
			s.Args = []string{""}
		},
		"a name in use elsewhere": func(s *corev1.EphemeralContainer) { s.Name = "other" },
	} {
		spec := goodSpec()
		change(spec)
		if err := Validate(spec, []Container{{Name: "app"}, {Name: "porthole-y"}}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestValidateRefuses(t *testing.T) {
	for _, c := range []struct {
		change func(*corev1.EphemeralContainer)
		says   string
	}{
		{func(s *corev1.EphemeralContainer) { s.Name = "" }, "name: Required value"},
		{func(s *corev1.EphemeralContainer) { s.Name = "Debug" }, `name: Invalid value: "Debug"`},
		{func(s *corev1.EphemeralContainer) { s.Name = "a.b" }, "name: Invalid value"},
		{func(s *corev1.EphemeralContainer) { s.Name = "-a" }, "name: Invalid value"},
		{func(s *corev1.EphemeralContainer) { s.Name = "../a" }, "name: Invalid value"},
		{func(s *corev1.EphemeralContainer) { s.Name = "a\n" }, "name: Invalid value"},
		{func(s *corev1.EphemeralContainer) { s.Name = strings.Repeat("a", 64) }, "at most 63"},
		{func(s *corev1.EphemeralContainer) { s.Name = "app" }, `name: Duplicate value: "app"`},
		{func(s *corev1.EphemeralContainer) { s.Image = "" }, "image: Required value"},
		{func(s *corev1.EphemeralContainer) { s.Image = "Busybox" }, "image: Invalid value"},
		{func(s *corev1.EphemeralContainer) { s.Env = []corev1.EnvVar{{Name: ""}} }, `env: Invalid value: ""`},
		{func(s *corev1.EphemeralContainer) { s.Env = []corev1.EnvVar{{Name: "a=b"}} }, `env: Invalid value: "a=b"`},
		{func(s *corev1.EphemeralContainer) { s.Env = []corev1.EnvVar{{Name: "é"}} }, "printable ASCII"},
		{func(s *corev1.EphemeralContainer) { s.Env = []corev1.EnvVar{{Name: "a\x7f"}} }, "printable ASCII"},
		{func(s *corev1.EphemeralContainer) { s.Env = []corev1.EnvVar{{Name: "A", Value: "b\x00c"}} }, "env[A]: Invalid value: a NUL byte"},
		{func(s *corev1.EphemeralContainer) { s.Command = []string{"a\x00"} }, "a NUL byte"},
		{func(s *corev1.EphemeralContainer) { s.Args = []string{"\x00"} }, "a NUL byte"},
		{func(s *corev1.EphemeralContainer) { s.WorkingDir = "/a\x00" }, "a NUL byte"},
		{func(s *corev1.EphemeralContainer) { s.WorkingDir = "/proc" }, "workingDir: Forbidden"},
		{func(s *corev1.EphemeralContainer) { s.WorkingDir = "/proc/self/fd/7" }, "workingDir: Forbidden"},
		{func(s *corev1.EphemeralContainer) { s.WorkingDir = "//proc/self/fd/7" }, "workingDir: Forbidden"},
		{func(s *corev1.EphemeralContainer) { s.WorkingDir = "/./proc/self/fd/7" }, "workingDir: Forbidden"},
		{func(s *corev1.EphemeralContainer) { s.WorkingDir = "/tmp/../proc/self" }, "workingDir: Forbidden"},
	} {
		spec := goodSpec()
		c.change(spec)
		err := Validate(spec, []Container{{Name: "app", State: Exited}})
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want one that says %q", err, c.says)
		}
	}
}

func TestValidateTellsAllAtOnce(t *testing.T) {
	spec := &corev1.EphemeralContainer{}
	spec.Name, spec.Image, spec.WorkingDir = "A", "B", "/proc"
	spec.Env = []corev1.EnvVar{{Name: "="}, {Name: "é"}}
	err := Validate(spec, nil)
	for _, want := range []string{"name: ", "image: ", `"="`, `"é"`, "workingDir: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestValidateImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for _, image := range []string{
		"busybox", "busybox:1.36", "busybox:latest", "library/busybox", "localhost/busybox:1", "localhost:5000/busybox",
		"registry.example.com:5000/a/b/c:v1.2.3-rc_4", "[::1]:5000/a", "Registry.Example.COM/a", "a__b", "a-b.c_d--e",
		"busybox@" + digest, "example.com/a:1@" + digest, digest, strings.TrimPrefix(digest, "sha256:"), "sha256:0a1b2c", "0a1b2c",
	} {
		if err := ValidateImage(image); err != nil {
			t.Errorf("%q: %v", image, err)
		}
	}
	for _, image := range []string{
		"", " ", "busy box", "busybox ", "Busybox", "library/Busybox", "busybox:", ":1", "busybox:-1", "/busybox", "busybox/",
		"a//b", "a___b", "a/-b", "busybox@sha256:0a", "busybox@", "-rm", "--privileged", "busybox\n", "busy\x1bbox", "busy\u202ebox",
		"busybox:" + strings.Repeat("a", 129), strings.Repeat("a", 1025), "http://a/b", "../a", "a/../b", "${IMAGE}", "ü",
	} {
		if err := ValidateImage(image); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v; want ErrInvalidArgument", image, err)
		}
	}
}
