package runtime

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

// envName is the API's relaxed rule for names of environment variables
// (RelaxedEnvironmentVariableValidation, GA in 1.34): printable ASCII but '='.
var envName = regexp.MustCompile(`^[ -<>-~]+$`)

// imageRef is a coarse check of an image reference, so that a typing error is
// reported before the runtime is asked: an optional registry, a path, an
// optional tag and an optional digest; or the bare hex ID of an image.
var imageRef = regexp.MustCompile(`^(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?/|\[[0-9a-fA-F:]+\](?::[0-9]+)?/)?[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?$`)

// Validate checks the spec as far as it can be judged without the pod's own
// spec; all errors are reported at once. existing are the containers known in
// the pod, of which none may have the spec's name.
func Validate(spec *corev1.EphemeralContainer, existing []Container) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case spec.Name == "":
		bad("name: Required value")
	case len(spec.Name) > 63 || !label.MatchString(spec.Name):
		bad("name: Invalid value: %q: a lower-case RFC 1123 label (letters, digits and '-', at most 63) is needed", spec.Name)
	case slices.ContainsFunc(existing, func(c Container) bool { return c.Name == spec.Name }):
		bad("name: Duplicate value: %q: the pod has a container of that name", spec.Name)
	}
	if err := ValidateImage(spec.Image); err != nil {
		errs = append(errs, err)
	}
	for _, e := range spec.Env {
		if !envName.MatchString(e.Name) {
			bad("env: Invalid value: %q: a name must be printable ASCII without '='", e.Name)
		}
		if strings.ContainsRune(e.Value, 0) {
			bad("env[%s]: Invalid value: a NUL byte cannot be passed to a process", e.Name)
		}
	}
	for _, arg := range slices.Concat(spec.Command, spec.Args, []string{spec.WorkingDir}) {
		if strings.ContainsRune(arg, 0) {
			bad("command: Invalid value: %q: a NUL byte cannot be passed to a process", arg)
		}
	}
	if dir := path.Clean("/" + spec.WorkingDir); strings.HasPrefix(dir, "/proc/") || dir == "/proc" {
		// CVE-2024-21626: a working directory under /proc could be a leaked
		// descriptor of the host.
		bad("workingDir: Forbidden: %q is under /proc", spec.WorkingDir)
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", errors.Join(errs...), errdefs.ErrInvalidArgument)
}

// ValidateImage checks that text is an image reference or an image's ID.
func ValidateImage(text string) error {
	switch {
	case text == "":
		return fmt.Errorf("image: Required value: %w", errdefs.ErrInvalidArgument)
	case strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return fmt.Errorf("image: Invalid value: %q: spaces and control characters are not allowed: %w", text, errdefs.ErrInvalidArgument)
	case len(text) > 1024 || !imageRef.MatchString(strings.TrimPrefix(text, "sha256:")):
		return fmt.Errorf("image: Invalid value: %q: want [REGISTRY/]NAME[:TAG][@DIGEST] in lower case, or an image ID: %w", text, errdefs.ErrInvalidArgument)
	}
	return nil
}
