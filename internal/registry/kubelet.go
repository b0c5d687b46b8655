package registry

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/containerd/errdefs"
)

// Kubelet is where a node's kubelet has its credentials. Empty paths are
// passed over.
type Kubelet struct {
	// Root is --root-dir. WorkingDir and Home are the process's.
	Root, WorkingDir, Home string
	// ProviderConfig and ProviderBin are --image-credential-provider-config, a
	// file or a directory, and --image-credential-provider-bin-dir.
	ProviderConfig, ProviderBin string
}

// kubelet is a Kubelet on a machine whose root directory is slash.
type kubelet struct {
	Kubelet
	slash string
}

// FromKubelet returns the node's own credentials: its Docker configuration,
// then its credential provider plugins (images/image_manager.go). All is read
// and run when something is looked up.
//
// Plugins are run only from a configuration and a directory that nobody but
// root (or the caller, where that is not root) can write. One that needs a
// service account's token is passed over: only the API server issues those.
func FromKubelet(k Kubelet) Source { return kubelet{k, "/"} }

func (k kubelet) Credentials(ctx context.Context, image Image) ([]Credential, []Notice) {
	credentials, notices := k.docker(image)
	provided, said := k.provided(ctx, image)
	return append(credentials, provided...), append(notices, said...)
}

// docker looks where kubelet does (config.go: ReadDockerConfigFile). The first
// config.json that can be read is the only one, even if it has nothing for the
// image, and the older .dockercfg counts only without any.
func (k kubelet) docker(image Image) ([]Credential, []Notice) {
	home := k.Home
	if home == "" { // os.UserHomeDir says "", which is the working directory
		home = k.WorkingDir
	}
	var notices []Notice
	for _, form := range []struct {
		name, below string
		parse       func([]byte, string) (dockerConfig, error)
	}{
		{"config.json", ".docker", parseConfigJSON},
		{".dockercfg", "", parseEntries},
	} {
		for _, dir := range []string{k.Root, k.WorkingDir, join(home, form.below), join(k.slash, form.below)} {
			if dir == "" {
				continue
			}
			path := filepath.Join(dir, form.name)
			text, _, err := readFile(path)
			if errdefs.IsNotFound(err) {
				continue
			}
			var parsed dockerConfig
			if err == nil {
				parsed, err = form.parse(text, path)
			}
			if err == nil {
				return parsed.keys.lookup(image), notices
			}
			notices = append(notices, Notice{path, err})
		}
	}
	return nil, notices
}

func join(dir, below string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, below)
}

// provided asks the plugins that are for the image, and matches what they
// answer together (plugin/plugins.go: Lookup).
func (k kubelet) provided(ctx context.Context, image Image) ([]Credential, []Notice) {
	switch {
	case k.ProviderConfig == "" && k.ProviderBin == "":
		return nil, nil
	case k.ProviderConfig == "" || k.ProviderBin == "":
		return nil, []Notice{{"kubelet's credential providers", fmt.Errorf("only one of their configuration and their directory is known: %w", errdefs.ErrNotFound)}}
	}
	providers, err := readProviders(k.ProviderConfig)
	if err != nil {
		return nil, []Notice{{"kubelet's credential providers", err}}
	}
	var notices []Notice
	keys := make(keyring)
	for _, p := range providers {
		if !matchesAny(p.MatchImages, image) {
			continue
		}
		from := "credential provider " + p.Name
		auth, err := p.ask(ctx, k.ProviderBin, image)
		if err != nil {
			notices = append(notices, Notice{from, err})
			continue
		}
		for _, registry := range slices.Sorted(maps.Keys(auth)) {
			a := auth[registry]
			keys.add(registry, credential(from, secret{username: a.Username, password: a.Password}))
		}
	}
	return keys.lookup(image), notices
}
