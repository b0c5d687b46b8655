package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"sigs.k8s.io/yaml"
)

// The API groups of kubelet's configuration and of its plugins; of either there
// are the versions v1, v1beta1 and v1alpha1, which are the same as far as we
// read them.
const (
	configGroup = "kubelet.config.k8s.io/"
	pluginGroup = "credentialprovider.kubelet.k8s.io/"
)

func inGroup(apiVersion, group string) bool {
	version, ok := strings.CutPrefix(apiVersion, group)
	return ok && slices.Contains([]string{"v1", "v1beta1", "v1alpha1"}, version)
}

// A provider is one plugin of kubelet's (kubelet/config/v1:CredentialProvider).
type provider struct {
	Name                 string   `json:"name"`
	MatchImages          []string `json:"matchImages"`
	DefaultCacheDuration *string  `json:"defaultCacheDuration"`
	APIVersion           string   `json:"apiVersion"`
	Args                 []string `json:"args"`
	Env                  []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"env"`
	TokenAttributes *struct {
		ServiceAccountTokenAudience          string   `json:"serviceAccountTokenAudience"`
		CacheType                            string   `json:"cacheType"`
		RequireServiceAccount                *bool    `json:"requireServiceAccount"`
		RequiredServiceAccountAnnotationKeys []string `json:"requiredServiceAccountAnnotationKeys"`
		OptionalServiceAccountAnnotationKeys []string `json:"optionalServiceAccountAnnotationKeys"`
	} `json:"tokenAttributes"`
}

// readProviders reads a CredentialProviderConfig, or all of them in a
// directory in their order (plugin/config.go:readCredentialProviderConfig).
// Since it says what root runs, nobody else may have written it.
func readProviders(path string) ([]provider, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, classed(err)
	}
	files := []string{path}
	if info.IsDir() {
		if err := trusted(path, info); err != nil {
			return nil, err
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, classed(err)
		}
		files = nil
		for _, entry := range entries {
			if !entry.IsDir() && slices.Contains([]string{".json", ".yaml", ".yml"}, filepath.Ext(entry.Name())) {
				files = append(files, filepath.Join(path, entry.Name()))
			}
		}
	}
	var all []provider
	for _, file := range files {
		providers, err := readProviderFile(file)
		if err != nil {
			return nil, err
		}
		for _, p := range providers {
			if slices.ContainsFunc(all, func(other provider) bool { return other.Name == p.Name }) {
				return nil, fmt.Errorf("%s: provider %q is there twice: %w", path, p.Name, errdefs.ErrInvalidArgument)
			}
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no providers: %w", path, errdefs.ErrInvalidArgument)
	}
	return all, nil
}

func readProviderFile(path string) ([]provider, error) {
	text, info, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if err := trusted(path, info); err != nil {
		return nil, err
	}
	var config struct {
		APIVersion string     `json:"apiVersion"`
		Kind       string     `json:"kind"`
		Providers  []provider `json:"providers"`
	}
	// The decoder's own words could quote what is a secret in env.
	if yaml.UnmarshalStrict(text, &config) != nil || !inGroup(config.APIVersion, configGroup) || config.Kind != "CredentialProviderConfig" {
		return nil, fmt.Errorf("%s: not a CredentialProviderConfig of %sv1: %w", path, configGroup, errdefs.ErrInvalidArgument)
	}
	for _, p := range config.Providers {
		if err := p.valid(); err != nil {
			return nil, fmt.Errorf("%s: provider %q: %w: %w", path, p.Name, err, errdefs.ErrInvalidArgument)
		}
	}
	return config.Providers, nil
}

// valid holds what kubelet requires (plugin/config.go:
// validateCredentialProviderConfig), as far as we go by it.
func (p provider) valid() error {
	if err := plain(p.Name); err != nil {
		return err
	}
	if !inGroup(p.APIVersion, pluginGroup) {
		return fmt.Errorf("apiVersion %q is not one of %sv1, v1beta1, v1alpha1", p.APIVersion, pluginGroup)
	}
	if len(p.MatchImages) == 0 {
		return errors.New("it has no matchImages")
	}
	for _, s := range p.MatchImages {
		if _, ok := parsePattern(s); !ok {
			return fmt.Errorf("matchImages has %q, which is no pattern", s)
		}
	}
	if p.DefaultCacheDuration == nil {
		return errors.New("it has no defaultCacheDuration")
	}
	if d, err := time.ParseDuration(*p.DefaultCacheDuration); err != nil || d < 0 {
		return fmt.Errorf("defaultCacheDuration %q is no duration", *p.DefaultCacheDuration)
	}
	return nil
}

// account is what a plugin answers for one pattern of images.
type account struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// ask runs the plugin (plugin/plugin.go:ExecPlugin). One that does not require
// a service account is asked without, as kubelet does for a pod that has none.
func (p provider) ask(ctx context.Context, bin string, image Image) (map[string]account, error) {
	if p.TokenAttributes != nil && (p.TokenAttributes.RequireServiceAccount == nil || *p.TokenAttributes.RequireServiceAccount) {
		return nil, fmt.Errorf("it needs a token of the pod's service account, which only the API server issues: %w", errdefs.ErrNotImplemented)
	}
	name := filepath.Join(bin, p.Name)
	path, err := executable(name)
	if err != nil {
		return nil, err
	}
	env := make([]string, len(p.Env))
	for i, v := range p.Env {
		env[i] = v.Name + "=" + v.Value
	}
	request, err := json.Marshal(map[string]string{"apiVersion": p.APIVersion, "kind": "CredentialProviderRequest", "image": image.String()})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInternal)
	}
	output, err := program{path: path, name: name, args: p.Args, env: env}.run(ctx, append(request, '\n'))
	if err != nil {
		return nil, err
	}
	var response struct {
		APIVersion   string             `json:"apiVersion"`
		Kind         string             `json:"kind"`
		CacheKeyType string             `json:"cacheKeyType"`
		Auth         map[string]account `json:"auth"`
	}
	// What it wrote is not quoted: it holds the passwords.
	if json.Unmarshal(output, &response) != nil || response.APIVersion != p.APIVersion || response.Kind != "CredentialProviderResponse" ||
		!slices.Contains([]string{"Image", "Registry", "Global"}, response.CacheKeyType) {
		return nil, fmt.Errorf("%s did not answer with a CredentialProviderResponse of %s: %w", name, p.APIVersion, errdefs.ErrDataLoss)
	}
	return response.Auth, nil
}
