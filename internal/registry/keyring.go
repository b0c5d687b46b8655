package registry

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// A keyring has credentials by what they are for (keyring.go:
// BasicDockerKeyring).
type keyring map[string][]Credential

// add puts a credential under its key: without scheme, and without Docker's
// versions of the registry API (BasicDockerKeyring.Add).
func (k keyring) add(registry string, c Credential) {
	if !strings.HasPrefix(registry, "https://") && !strings.HasPrefix(registry, "http://") {
		registry = "https://" + registry
	}
	parsed, err := url.Parse(registry)
	if err != nil {
		return
	}
	path := parsed.Path
	if strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/v2/") {
		path = path[len("/v1"):]
	}
	if path == "/" {
		path = ""
	}
	k[parsed.Host+path] = append(k[parsed.Host+path], c)
}

// lookup returns what is for an image, the most specific first: keys in
// reverse order, in which a longer path comes before its beginning
// (BasicDockerKeyring.Lookup). Docker's own registry has a name of its own;
// kubelet takes a host without a dot, like localhost, for it, and we do not.
func (k keyring) lookup(image Image) []Credential {
	target, ok := parsePattern(image.String())
	if !ok {
		return nil
	}
	var found []Credential
	for _, key := range slices.Backward(slices.Sorted(maps.Keys(k))) {
		if p, ok := parsePattern(key); ok && p.matches(target) {
			found = append(found, k[key]...)
		}
	}
	if len(found) == 0 && image.host == "docker.io" {
		found = k[dockerHub]
	}
	return found
}

// A dockerConfig is one of Docker's configuration files.
type dockerConfig struct {
	keys keyring
	// store and helpers name the programs that hold credentials, for all
	// registries and for some.
	store   string
	helpers map[string]string
}

// entry is what a file has for one registry.
type entry struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// Errors of a file never say what is in it: a JSON decoder would quote it.
var (
	errNotJSON = fmt.Errorf("not a Docker configuration: it is no JSON of this form: %w", errdefs.ErrInvalidArgument)
	errBadAuth = fmt.Errorf("an auth in it is not base64 of USER:PASSWORD: %w", errdefs.ErrInvalidArgument)
)

// parseConfig reads a config.json, where credentials are below auths, or the
// older .dockercfg, which has nothing else. One bad entry spoils the file, as
// it does for kubelet.
func parseConfig(text []byte, from string) (dockerConfig, error) {
	var top map[string]json.RawMessage
	if json.Unmarshal(text, &top) != nil {
		return dockerConfig{}, errNotJSON
	}
	if !isConfigJSON(top) {
		return parseEntries(text, from)
	}
	return parseConfigJSON(text, from)
}

func parseConfigJSON(text []byte, from string) (dockerConfig, error) {
	var file struct {
		Auths   json.RawMessage   `json:"auths"`
		Store   string            `json:"credsStore"`
		Helpers map[string]string `json:"credHelpers"`
	}
	if json.Unmarshal(text, &file) != nil {
		return dockerConfig{}, errNotJSON
	}
	c := dockerConfig{keys: make(keyring)}
	if len(file.Auths) > 0 {
		var err error
		if c, err = parseEntries(file.Auths, from); err != nil {
			return dockerConfig{}, err
		}
	}
	c.store, c.helpers = file.Store, file.Helpers
	return c, nil
}

// isConfigJSON tells the newer form by any key of it. An empty object is both.
func isConfigJSON(top map[string]json.RawMessage) bool {
	if len(top) == 0 {
		return true
	}
	for _, key := range []string{"auths", "credsStore", "credHelpers", "HttpHeaders", "currentContext", "plugins", "proxies"} {
		if _, ok := top[key]; ok {
			return true
		}
	}
	return false
}

func parseEntries(text []byte, from string) (dockerConfig, error) {
	var entries map[string]entry
	if json.Unmarshal(text, &entries) != nil {
		return dockerConfig{}, errNotJSON
	}
	c := dockerConfig{keys: make(keyring)}
	for _, registry := range slices.Sorted(maps.Keys(entries)) {
		s, err := entries[registry].secret()
		if err != nil {
			return dockerConfig{}, err
		}
		if s != (secret{}) { // docker login leaves an empty one where a helper has it
			c.keys.add(registry, credential(from, s))
		}
	}
	return c, nil
}

// secret decodes an entry; what is in auth wins (config.go:UnmarshalJSON).
func (e entry) secret() (secret, error) {
	s := secret{e.Username, e.Password, e.IdentityToken, e.RegistryToken}
	if e.Auth == "" {
		return s, nil
	}
	encoding := base64.RawStdEncoding
	if strings.HasSuffix(strings.TrimSpace(e.Auth), "=") {
		encoding = base64.StdEncoding
	}
	decoded, err := encoding.DecodeString(e.Auth)
	if err != nil {
		return secret{}, errBadAuth
	}
	var ok bool
	if s.username, s.password, ok = strings.Cut(string(decoded), ":"); !ok {
		return secret{}, errBadAuth
	}
	return s, nil
}
