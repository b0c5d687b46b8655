package registry

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
)

// A Source is one place that may have credentials.
type Source interface {
	// Credentials returns what there is for an image, best first, and what was
	// wrong. A source without anything for the image returns nothing.
	Credentials(ctx context.Context, image Image) ([]Credential, []Notice)
}

// Lookup asks the sources in their order and returns all credentials for an
// image in the order in which they are to be tried; with none of them the image
// is pulled anonymously. Hand over what the user gave first ([FromFile],
// [FromLine]), then the node's ([FromKubelet]), then the user's own
// ([FromUser]); a nil source has nothing. The error is
// [errdefs.ErrInvalidArgument] for what is no image.
func Lookup(ctx context.Context, image string, sources ...Source) ([]Credential, []Notice, error) {
	parsed, err := ParseImage(image)
	if err != nil {
		return nil, nil, err
	}
	var credentials []Credential
	var notices []Notice
	for _, source := range sources {
		if source == nil {
			continue
		}
		found, said := source.Credentials(ctx, parsed)
		credentials, notices = append(credentials, found...), append(notices, said...)
	}
	return credentials, notices, nil
}

// line is a credential for whatever is pulled.
type line struct{ Credential }

// FromLine takes USER:PASSWORD, as read from standard input, for any image. A
// line feed at its end is not part of it. Errors are
// [errdefs.ErrInvalidArgument] and do not quote it.
func FromLine(text string) (Source, error) {
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	username, password, ok := strings.Cut(text, ":")
	if !ok || username == "" || strings.ContainsAny(text, "\n\x00") {
		return nil, fmt.Errorf("credentials: not USER:PASSWORD on one line: %w", errdefs.ErrInvalidArgument)
	}
	return line{credential("the given USER:PASSWORD", secret{username: username, password: password})}, nil
}

func (l line) Credentials(context.Context, Image) ([]Credential, []Notice) {
	return []Credential{l.Credential}, nil
}

// config is a Docker configuration that has been read.
type config struct {
	dockerConfig
	from    string
	warning error
	// follow is nil if the helpers that it names may be run.
	follow error
}

func (c config) Credentials(ctx context.Context, image Image) ([]Credential, []Notice) {
	var notices []Notice
	if c.warning != nil {
		notices = append(notices, Notice{c.from, c.warning})
	}
	found := c.keys.lookup(image)
	held, err := c.help(ctx, image)
	if err != nil {
		notices = append(notices, Notice{c.from, err})
	}
	return append(held, found...), notices
}

// FromFile reads the Docker configuration at a path that the user gave, of
// either form. Errors name the file and are [errdefs.ErrNotFound],
// [errdefs.ErrPermissionDenied], or [errdefs.ErrInvalidArgument] for what is no
// such file. If others than its owner can read it, a notice says so.
func FromFile(path string) (Source, error) {
	text, info, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	parsed, err := parseConfig(text, path)
	if err != nil {
		return nil, fmt.Errorf("credentials in %s: %w", path, err)
	}
	return config{parsed, path, exposed(info), trusted(path, info)}, nil
}

// FromJSON takes a Docker configuration that is already there, such as the data
// of a pod's pull secret; from names it in what people read. Helpers that it
// names are not run: it may be anybody's. Errors are as of [FromFile].
func FromJSON(from string, text []byte) (Source, error) {
	if len(text) > fileLimit {
		return nil, fmt.Errorf("credentials in %s: more than %d bytes: %w", from, fileLimit, errdefs.ErrInvalidArgument)
	}
	parsed, err := parseConfig(text, from)
	if err != nil {
		return nil, fmt.Errorf("credentials in %s: %w", from, err)
	}
	return config{parsed, from, nil, fmt.Errorf("it is not a file of this user: %w", errdefs.ErrPermissionDenied)}, nil
}

func exposed(info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o044 != 0 {
		return fmt.Errorf("others than its owner can read it (mode %#o); run chmod go-r on it: %w", mode, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// user is the configuration of whoever runs this.
type user struct{ path string }

// FromUser is Docker's configuration of the user: config.json in dockerConfig
// (the variable DOCKER_CONFIG) or, if that is empty, in home/.docker. It is read
// when something is looked up; that it does not exist is no notice.
func FromUser(home, dockerConfig string) Source {
	switch {
	case dockerConfig != "":
		return user{filepath.Join(dockerConfig, "config.json")}
	case filepath.IsAbs(home):
		return user{filepath.Join(home, ".docker", "config.json")}
	}
	return nil
}

func (u user) Credentials(ctx context.Context, image Image) ([]Credential, []Notice) {
	source, err := FromFile(u.path)
	switch {
	case errdefs.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, []Notice{{u.path, err}}
	}
	return source.Credentials(ctx, image)
}
