package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/porthole-project/porthole/internal/kubelet"
	"github.com/porthole-project/porthole/internal/registry"
	"github.com/porthole-project/porthole/internal/tty"
	"github.com/porthole-project/porthole/runtime"
)

// secretLimit is far more than any USER:PASSWORD.
const secretLimit = 64 << 10

// pullSources reads what the flags give to pull the image with, before
// anything else is done.
func pullSources(ctx context.Context, c *cli.Context, n *node) error {
	if path := c.String("pull-secret-file"); path != "" {
		source, err := registry.FromFile(path)
		if err != nil {
			return usageErrorf("--pull-secret-file: %w", err)
		}
		n.sources = append(n.sources, source)
	}
	if c.Bool("creds-stdin") {
		line, err := secretLine(ctx, n)
		if err != nil {
			return usageErrorf("--creds-stdin: %w", err)
		}
		source, err := registry.FromLine(line)
		if err != nil {
			return usageErrorf("--creds-stdin: %w", err)
		}
		n.sources = append(n.sources, source)
	}
	return nil
}

// secretLine reads one line of standard input and leaves what follows to the
// container. A terminal does not show it.
func secretLine(ctx context.Context, n *node) (string, error) {
	if f, ok := n.in.(*os.File); ok && tty.Is(f) {
		n.console.line("USER:PASSWORD to pull the image with (it is not shown):")
		return tty.ReadSecret(ctx, f)
	}
	var line []byte
	for b := make([]byte, 1); ; {
		got, err := n.in.Read(b)
		switch {
		case got == 1 && b[0] == '\n', errors.Is(err, io.EOF) && len(line) > 0:
			return string(line), nil
		case got == 1:
			line = append(line, b[0])
		case errors.Is(err, io.EOF):
			return "", errors.New("standard input ended before a line was read")
		case err != nil:
			return "", err
		}
		if len(line) > secretLimit {
			return "", fmt.Errorf("more than %d bytes in the line", secretLimit)
		}
	}
}

// credentials finds what may open the image's registry: what the flags gave,
// what the node's kubelet would use, what the user has for it.
func (n *node) credentials(ctx context.Context, image string) []runtime.Credential {
	sources := append([]registry.Source(nil), n.sources...)
	if n.kubelet != nil {
		sources = append(sources, kubeletSource(*n.kubelet))
	}
	home, _ := os.UserHomeDir()
	sources = append(sources, registry.FromUser(home, os.Getenv("DOCKER_CONFIG")))
	found, notices, err := registry.Lookup(ctx, image, sources...)
	if err != nil {
		n.verbose("credentials: %v", err)
	}
	for _, notice := range notices {
		n.verbose("credentials: %s", notice)
	}
	var out []runtime.Credential
	for _, c := range found {
		out = append(out, runtime.Credential{
			Username: c.Username(), Password: c.Password(), IdentityToken: c.IdentityToken(), RegistryToken: c.RegistryToken(), Source: c.From,
		})
	}
	return out
}

// kubeletSource is what the node's kubelet pulls with.
func kubeletSource(paths kubelet.Paths) registry.Source {
	s := paths.Settings
	return registry.FromKubelet(registry.Kubelet{
		Root: paths.Root, WorkingDir: s.WorkingDir.Value, Home: s.Home.Value,
		ProviderConfig: s.CredentialProviderConfig.Value, ProviderBin: s.CredentialProviderBinDir.Value,
	})
}
