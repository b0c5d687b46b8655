package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What the registry asks for. The hash is bcrypt's, of the password.
const (
	RegistryUser     = "puller"
	RegistryPassword = "s3cr3t-pull-word"
	registryUsers    = RegistryUser + ":$2y$05$abcdefghijklmnopqrstuuHaib5EHKDH38uo0B.Jc26q0Tj4bqKfi\n"
)

// registryBin is Debian's docker-registry.
const registryBin = "/usr/bin/docker-registry"

// Registry is a private image registry on the loopback interface that asks for
// a password.
type Registry struct {
	Host   string // 127.0.0.1:PORT
	daemon *Daemon
}

// StartRegistry starts a registry that keeps its images below dir. It dies with
// this process.
func StartRegistry(ctx context.Context, dir string) (*Registry, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	r := &Registry{Host: listener.Addr().String()}
	if err := listener.Close(); err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	users, config := filepath.Join(dir, "htpasswd"), filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\nauth: {htpasswd: {realm: test, path: %s}}\n",
		filepath.Join(dir, "images"), r.Host, users)
	if err := errors.Join(os.WriteFile(users, []byte(registryUsers), 0o600), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	cmd := exec.Command(registryBin, "serve", config)
	cmd.Dir = dir
	if r.daemon, err = StartDaemon(cmd); err != nil {
		return nil, fmt.Errorf("registry: run test/setup: %w", err)
	}
	for {
		if err := r.answers(ctx); err == nil {
			return r, nil
		} else if !r.daemon.Running() {
			return nil, fmt.Errorf("registry at %s has ended: %w", r.Host, err)
		}
		if err := pause(ctx, pollInterval); err != nil {
			r.Stop()
			return nil, fmt.Errorf("registry at %s does not answer: %w", r.Host, err)
		}
	}
}

// answers checks that it asks for a password.
func (r *Registry) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Host+"/v2/", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("it says %s", response.Status)
	}
	return nil
}

// Push makes an image of the toolbox that the node does not have, puts it into
// the registry by way of the node, and returns its reference there.
func (r *Registry) Push(ctx context.Context, n *Node, name string) (string, error) {
	ref := r.Host + "/" + name
	box, err := busyboxLayer(ctx)
	if err != nil {
		return "", err
	}
	// The label gives it an ID of its own.
	config := ocispec.ImageConfig{Env: []string{imagePath}, Cmd: []string{"sh"}, Labels: map[string]string{"name": ref}}
	archive, err := archiveImages([]image{{name: ref, layers: [][]byte{box}, config: config}})
	if err != nil {
		return "", err
	}
	imported, err := n.containerd.Import(ctx, bytes.NewReader(archive))
	if err != nil {
		return "", fmt.Errorf("push %s: %w", ref, err)
	}
	credentials := func(string) (string, string, error) { return RegistryUser, RegistryPassword, nil }
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: docker.ConfigureDefaultRegistries(
		docker.WithPlainHTTP(docker.MatchLocalhost),
		docker.WithAuthorizer(docker.NewDockerAuthorizer(docker.WithAuthCreds(credentials))),
	)})
	if err := n.containerd.Push(ctx, ref, imported[0].Target, client.WithResolver(resolver)); err != nil {
		return "", fmt.Errorf("push %s: %w", ref, err)
	}
	if err := n.containerd.ImageService().Delete(ctx, ref, images.SynchronousDelete()); err != nil {
		return "", fmt.Errorf("push %s: %w", ref, err)
	}
	// CRI learns by an event that it is gone.
	for {
		if _, err := n.image(ctx, ref); errdefs.IsNotFound(err) {
			return ref, nil
		}
		if err := pause(ctx, pollInterval); err != nil {
			return "", fmt.Errorf("push %s: %w", ref, err)
		}
	}
}

// HasImage reports whether the node's runtime has the image.
func (n *Node) HasImage(ctx context.Context, ref string) bool {
	_, err := n.image(ctx, ref)
	return err == nil
}

// Stop ends the registry.
func (r *Registry) Stop() { r.daemon.End(syscall.SIGKILL, 5*time.Second) }
