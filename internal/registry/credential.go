package registry

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

// A Credential is one way to identify to a registry.
type Credential struct {
	// From says for people where it is from; it names no account.
	From string
	// A function, since fmt does not ask the methods of what is in a struct's
	// unexported fields and prints all that it can reach, pointers followed.
	reveal func() secret
}

func credential(from string, s secret) Credential {
	return Credential{from, func() secret { return s }}
}

// secret is what registries ask for, as CRI's AuthConfig has it.
type secret struct{ username, password, identityToken, registryToken string }

// Username returns the account's name, which may be a token, too.
func (c Credential) Username() string { return c.get().username }

// Password returns the account's password.
func (c Credential) Password() string { return c.get().password }

// IdentityToken returns a token that is good for getting one for the registry,
// in the place of a password.
func (c Credential) IdentityToken() string { return c.get().identityToken }

// RegistryToken returns a bearer token for the registry itself.
func (c Credential) RegistryToken() string { return c.get().registryToken }

func (c Credential) get() secret {
	if c.reveal == nil {
		return secret{}
	}
	return c.reveal()
}

// String returns where the credential is from.
func (c Credential) String() string { return "credential from " + c.From }

// GoString is String.
func (c Credential) GoString() string { return c.String() }

// Format is String for every verb.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, c.String()) }

// MarshalJSON tells where the credential is from.
func (c Credential) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"from": c.From})
}

// LogValue is String.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// A Notice is why a source was passed over, or a warning about one.
type Notice struct {
	// From is the source, as in [Credential.From].
	From string
	// Err says what is wrong with it, with a class of errdefs.
	Err error
}

// String returns the notice as one line.
func (n Notice) String() string { return n.From + ": " + n.Err.Error() }
