package ephemeral

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

var (
	// imageRef is a coarse check of an image reference, so that a typing error is
	// reported before the runtime is asked: an optional registry, a path, an
	// optional tag and an optional digest; or the bare hex ID of an image.
	imageRef = regexp.MustCompile(`^(?:` + registry + `/)?` + component + `(?:/` + component + `)*(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?` +
		`(?:@([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?$`)
	// imageID is what the runtime itself calls an image.
	imageID = regexp.MustCompile(`^[0-9a-f]{64}$`)
	// digest is one that can be verified.
	digest = regexp.MustCompile(`^(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$`)
)

// The parts of an image's name, as the distribution project's grammar has them.
const (
	hostLabel = `(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])`
	registry  = `(?:` + hostLabel + `(?:\.` + hostLabel + `)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?`
	component = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`
)

// DefaultPullPolicy is the API server's default for an image
// (SetDefaults_Container): Always for the tag latest, given or implied, and
// IfNotPresent for anything else, which is also what cannot be parsed as a name.
// The ID of an image is as good as a digest.
func DefaultPullPolicy(image string) corev1.PullPolicy {
	parts := imageRef.FindStringSubmatch(image)
	if parts == nil || imageID.MatchString(image) {
		return corev1.PullIfNotPresent
	}
	tag, sum := parts[1], parts[2]
	if tag == "" && sum == "" || tag == "latest" && (sum == "" || digest.MatchString(sum)) {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

// ValidateImage checks that text is an image reference or an image's ID. The API
// server leaves that to kubelet (InvalidImageName), which tries again forever.
func ValidateImage(text string) error {
	if text == "" {
		return fmt.Errorf("image: Required value: %w", errdefs.ErrInvalidArgument)
	}
	if why := badImage(text); why != "" {
		return fmt.Errorf("image: Invalid value: %q: %s: %w", text, why, errdefs.ErrInvalidArgument)
	}
	return nil
}

// badImage says what is wrong with a reference that is there, empty if nothing.
func badImage(text string) string {
	switch {
	case strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return "spaces and control characters are not allowed"
	case len(text) > 1024 || !imageRef.MatchString(strings.TrimPrefix(text, "sha256:")):
		return "want [REGISTRY/]NAME[:TAG][@DIGEST] in lower case, or an image ID"
	}
	return ""
}
