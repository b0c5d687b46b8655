package runtime

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/containerd/errdefs"
)

// Ref is what a person typed to say which pod is meant.
type Ref struct {
	// Namespace is empty when any namespace may match.
	Namespace string
	// Name is the pod's name, or, if ID is set too, possibly that.
	Name string
	// ID is a prefix of a sandbox's or container's ID: it is set when Name could
	// be one as well and nothing says that a name is meant.
	ID string
}

// String is the reference as a user would write it.
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Name
	}
	return r.Namespace + "/" + r.Name
}

var (
	// Pod names are DNS-1123 subdomains, namespaces DNS-1123 labels (API
	// validation: ValidatePodName, ValidateNamespaceName).
	subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	label     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	hexPrefix = regexp.MustCompile(`^[0-9a-f]{4,64}$`)
)

// ParseRef reads POD as NAME, pod/NAME (pods/, po/), NAMESPACE/NAME or the
// prefix (at least 4 hex digits) of a sandbox's or container's ID. The
// namespace argument is what -n said; it wins over nothing and must agree with
// one in the reference. node/NAME is reserved for debugging a node itself.
func ParseRef(text, namespace string) (Ref, error) {
	if namespace != "" && (!label.MatchString(namespace) || len(namespace) > 63) {
		return Ref{}, fmt.Errorf("namespace %q is not a valid name (lower-case letters, digits and '-'): %w", namespace, errdefs.ErrInvalidArgument)
	}
	ref := Ref{Namespace: namespace, Name: text}
	kind, rest, slash := strings.Cut(text, "/")
	switch {
	case !slash:
		if hexPrefix.MatchString(text) {
			ref.ID = text
		}
	case kind == "pod" || kind == "pods" || kind == "po":
		ref.Name = rest
	case kind == "node" || kind == "nodes" || kind == "no":
		return Ref{}, fmt.Errorf("%q names a node: this version opens pods only: %w", text, errdefs.ErrNotImplemented)
	case !label.MatchString(kind) || len(kind) > 63:
		return Ref{}, fmt.Errorf("%q: the namespace %q is not a valid name: %w", text, kind, errdefs.ErrInvalidArgument)
	case namespace != "" && namespace != kind:
		return Ref{}, fmt.Errorf("%q is in namespace %s but -n says %s; give one of them: %w", text, kind, namespace, errdefs.ErrInvalidArgument)
	default:
		ref.Namespace, ref.Name = kind, rest
	}
	if ref.Name == "" {
		return Ref{}, fmt.Errorf("no pod is named in %q; give NAME, NAMESPACE/NAME or an ID: %w", text, errdefs.ErrInvalidArgument)
	}
	if len(ref.Name) > 253 || !subdomain.MatchString(ref.Name) {
		return Ref{}, fmt.Errorf("pod name %q is not valid (lower-case letters, digits, '-' and '.'): %w", ref.Name, errdefs.ErrInvalidArgument)
	}
	return ref, nil
}
