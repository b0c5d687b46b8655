package runtime

import (
	"context"

	corev1 "k8s.io/api/core/v1"
)

// Image is an image on the node.
type Image struct {
	Ref      string // as the user wrote it
	ID       string // as the runtime knows it
	UID      *int64 // the image's own numeric user, if it has one
	Username string // else its user by name, if it has one
	// Pulled is set when it was not here before, and Source when a credential was
	// needed for that.
	Pulled bool
	Source string
}

// ImageOrder asks for an image on the node.
type ImageOrder struct {
	Ref string // as the user wrote it
	// Policy is the user's; empty is the API's default for the reference, and then
	// a registry that is down does not stop an image that is here.
	Policy corev1.PullPolicy
	// Facts are of the pod for which it is pulled; nil for none. A runtime may
	// choose a snapshotter or a mirror by it.
	Facts *Facts
	// Credentials finds what opens the image's registry, best first. It is asked
	// only if there is something to pull; nil for none.
	Credentials func(ctx context.Context, image string) []Credential
	// Notice is told what the user should know.
	Notice func(line string)
}

// Credential opens a registry. It never shows its secrets when printed.
type Credential struct {
	Username, Password           string
	IdentityToken, RegistryToken string
	// Source says for people where it comes from.
	Source string
}

// String says where the credential comes from, and nothing of what it is.
func (c Credential) String() string { return "credential of " + c.Source }

// GoString is String.
func (c Credential) GoString() string { return c.String() }
