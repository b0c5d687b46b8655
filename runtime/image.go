package runtime

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// DefaultPullPolicy is the API server's default for an image reference
// (SetDefaults_Container): Always for the tag latest, given or implied, and
// IfNotPresent for anything else. The ID of an image is as good as a digest.
func DefaultPullPolicy(ref string) corev1.PullPolicy {
	if strings.Contains(ref, "@") || strings.HasPrefix(ref, "sha256:") || len(ref) == 64 && strings.Trim(ref, "0123456789abcdef") == "" {
		return corev1.PullIfNotPresent
	}
	name := ref[strings.LastIndexByte(ref, '/')+1:]
	if _, tag, tagged := strings.Cut(name, ":"); tagged && tag != "latest" {
		return corev1.PullIfNotPresent
	}
	return corev1.PullAlways
}
