package registry

import (
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// Docker's own registry, by the name that credentials for it are kept under.
const (
	dockerHub    = "index.docker.io"
	dockerHubKey = "https://index.docker.io/v1/"
)

// An Image is the name of an image in full, without tag and digest.
type Image struct{ host, path string }

// ParseImage takes the name of an image as users and pods write it and
// completes it (github.com/distribution/reference:ParseNormalizedNamed, by
// which kubelet does): busybox is docker.io/library/busybox. What cannot be a
// name is [errdefs.ErrInvalidArgument].
func ParseImage(name string) (Image, error) {
	rest, _, _ := strings.Cut(name, "@")
	if colon := strings.LastIndexByte(rest, ':'); colon > strings.LastIndexByte(rest, '/') {
		rest = rest[:colon]
	}
	host, repository, found := strings.Cut(rest, "/")
	if !found || !strings.ContainsAny(host, ".:") && host != "localhost" && strings.ToLower(host) == host {
		host, repository = "docker.io", rest
	}
	if host == dockerHub {
		host = "docker.io"
	}
	if host == "docker.io" && !strings.Contains(repository, "/") {
		repository = "library/" + repository
	}
	if slices.Contains(strings.Split(repository, "/"), "") || strings.ContainsAny(rest, " \t\n\\?#%") || strings.ToLower(repository) != repository {
		return Image{}, fmt.Errorf("image %q: not the name of an image: %w", name, errdefs.ErrInvalidArgument)
	}
	return Image{host, repository}, nil
}

// String returns the name that kubelet hands to credential providers.
func (i Image) String() string { return i.host + "/" + i.path }

// Host returns the registry's, with its port.
func (i Image) Host() string { return i.host }

// server is the name that Docker's credential helpers know the registry by.
func (i Image) server() string {
	if i.host == "docker.io" {
		return dockerHubKey
	}
	return i.host
}

// A pattern says which images a credential is for: HOST[:PORT][/PATH], with
// globs in the parts of the host.
type pattern struct {
	parts      []string
	port, path string
}

// parsePattern parses without a scheme, as kubelet does (keyring.go:
// ParseSchemelessURL, SplitURL).
func parsePattern(s string) (pattern, bool) {
	parsed, err := url.Parse("https://" + s)
	if err != nil {
		return pattern{}, false
	}
	host, port, err := net.SplitHostPort(parsed.Host)
	if err != nil {
		host, port = parsed.Host, ""
	}
	return pattern{strings.Split(host, "."), port, parsed.Path}, true
}

// matches compares part by part: the same port, as many parts of the host,
// each of which is a glob, and a path that the image's begins with (keyring.go:
// URLsMatch).
func (p pattern) matches(image pattern) bool {
	if p.port != image.port || len(p.parts) != len(image.parts) || !strings.HasPrefix(image.path, p.path) {
		return false
	}
	for i, part := range p.parts {
		if ok, err := path.Match(part, image.parts[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// matchesAny reports whether an image is one of those that the patterns name.
func matchesAny(patterns []string, image Image) bool {
	target, ok := parsePattern(image.String())
	if !ok {
		return false
	}
	for _, s := range patterns {
		if p, ok := parsePattern(s); ok && p.matches(target) {
			return true
		}
	}
	return false
}
