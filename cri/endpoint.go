package cri

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	"sigs.k8s.io/yaml"
)

// Names that crictl made customary.
const (
	EnvRuntimeEndpoint = "CONTAINER_RUNTIME_ENDPOINT"
	EnvImageEndpoint   = "IMAGE_SERVICE_ENDPOINT"
	CrictlConfig       = "/etc/crictl.yaml"
)

// wellKnown are the sockets tried in turn when nothing names one.
var wellKnown = []string{
	"unix:///run/containerd/containerd.sock",
	"unix:///run/crio/crio.sock",
	"unix:///run/cri-dockerd.sock",
	"unix:///run/k3s/containerd/containerd.sock",
	"unix:///run/k0s/containerd.sock",
	"unix:///var/snap/microk8s/common/run/containerd.sock",
}

// Endpoints says where the runtime and image services listen.
type Endpoints struct {
	// Runtime is one endpoint that somebody named, or empty for the first
	// well-known socket that answers.
	Runtime string
	// Image is empty when images are served where the runtime is.
	Image string
	// Source says who named Runtime, for messages.
	Source string
}

// FindEndpoints applies the customary order: what the user gave (already the
// winner of flag, PORTHOLE_* and configuration file), then crictl's
// environment variables, then /etc/crictl.yaml. An unreadable or malformed
// crictl.yaml is an error, a missing one is not.
func FindEndpoints(runtimeFlag, imageFlag string, getenv func(string) string, crictlConfig string) (Endpoints, error) {
	ends := Endpoints{Runtime: runtimeFlag, Image: imageFlag, Source: "--runtime-endpoint"}
	if ends.Runtime == "" {
		ends.Runtime, ends.Source = getenv(EnvRuntimeEndpoint), EnvRuntimeEndpoint
	}
	if ends.Image == "" {
		ends.Image = getenv(EnvImageEndpoint)
	}
	// The image endpoint of the file goes with the runtime of the file.
	if ends.Runtime == "" {
		file, err := readCrictl(crictlConfig)
		if err != nil {
			return Endpoints{}, err
		}
		ends.Runtime, ends.Source = file.Runtime, crictlConfig
		if ends.Image == "" {
			ends.Image = file.Image
		}
	}
	if ends.Runtime == "" {
		ends.Source = ""
	}
	for _, e := range []*string{&ends.Runtime, &ends.Image} {
		if *e == "" {
			continue
		}
		clean, err := normalize(*e)
		if err != nil {
			return Endpoints{}, err
		}
		*e = clean
	}
	return ends, nil
}

type crictlFile struct {
	Runtime string `json:"runtime-endpoint"`
	Image   string `json:"image-endpoint"`
}

func readCrictl(path string) (crictlFile, error) {
	var file crictlFile
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return file, nil
	}
	if err != nil {
		return file, fmt.Errorf("crictl's configuration: %w", err)
	}
	// crictl's file has keys that mean nothing here: not strict.
	if err := yaml.Unmarshal(data, &file); err != nil {
		return file, fmt.Errorf("crictl's configuration %s is not YAML (%w); correct it or give --runtime-endpoint: %w", path, err, errdefs.ErrInvalidArgument)
	}
	return file, nil
}

// normalize accepts unix:///path and, as crictl does, a bare path.
func normalize(endpoint string) (string, error) {
	path := strings.TrimPrefix(endpoint, "unix://")
	if strings.Contains(path, "://") || !strings.HasPrefix(path, "/") {
		return "", fmt.Errorf("runtime endpoint %q: only unix:///PATH is served by CRI runtimes: %w", endpoint, errdefs.ErrInvalidArgument)
	}
	return "unix://" + path, nil
}

// Dial connects to the runtime that ends names, or to the first well-known
// socket behind which a CRI runtime answers. The error of a dead endpoint
// names each path tried and why it was not it (ErrUnavailable).
func Dial(ctx context.Context, ends Endpoints, limits Limits) (*Client, error) {
	candidates, source := []string{ends.Runtime}, "named by "+ends.Source
	if ends.Runtime == "" {
		candidates, source = wellKnown, "well-known sockets"
	}
	var tried []string
	for _, endpoint := range candidates {
		c, err := dialOne(ctx, endpoint, ends.Image, limits)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		tried = append(tried, fmt.Sprintf("  %s: %v", endpoint, reason(err)))
	}
	return nil, fmt.Errorf("no CRI runtime answers (%s); is it running, and are you root? --runtime-endpoint names another:\n%s\n%w",
		source, strings.Join(tried, "\n"), errdefs.ErrUnavailable)
}

// reason shortens what gRPC and the OS say of a socket.
func reason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no such socket"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	}
	return err.Error()
}
