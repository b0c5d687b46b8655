package ephemeral

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

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

func TestDefaultPullPolicy(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for image, want := range map[string]corev1.PullPolicy{
		"busybox": corev1.PullAlways, "busybox:latest": corev1.PullAlways, "busybox:1": corev1.PullIfNotPresent,
		"localhost:5000/busybox": corev1.PullAlways, "localhost:5000/busybox:1": corev1.PullIfNotPresent,
		"busybox@" + digest: corev1.PullIfNotPresent, "busybox:1@" + digest: corev1.PullIfNotPresent, "busybox:latest@" + digest: corev1.PullAlways,
		digest: corev1.PullIfNotPresent, strings.TrimPrefix(digest, "sha256:"): corev1.PullIfNotPresent, "": corev1.PullIfNotPresent, "Busybox": corev1.PullIfNotPresent,
	} {
		if got := DefaultPullPolicy(image); got != want {
			t.Errorf("%s: %s, want %s", image, got, want)
		}
	}
}
