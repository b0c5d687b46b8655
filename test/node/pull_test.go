package node

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/test/testenv"
)

// private is a registry that wants a password, with one image of the toolbox.
type private struct {
	*env
	image string
	pod   *testenv.Pod
}

// withPrivate starts one for the test.
func withPrivate(e *env, name string) *private {
	e.Helper()
	r, err := testenv.StartRegistry(e.Context(), e.TempDir())
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(r.Stop)
	p := &private{env: e}
	if p.image, err = r.Push(e.Context(), e.node, "tools/"+name+":1"); err != nil {
		e.Fatal(err)
	}
	p.pod = e.pod(testenv.PodSpec{Name: name})
	return p
}

// dockerConfig is a file with the registry's password, as docker writes it.
func (p *private) dockerConfig(path, password string) string {
	p.Helper()
	host, _, _ := strings.Cut(p.image, "/")
	auth := base64.StdEncoding.EncodeToString([]byte(testenv.RegistryUser + ":" + password))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, host, auth), 0o600); err != nil {
		p.Fatal(err)
	}
	return path
}

// has reports whether the node has the image.
func (p *private) has() bool { return p.node.HasImage(context.WithoutCancel(p.Context()), p.image) }

// drop removes the image if it is there.
func (p *private) drop() {
	p.Helper()
	if _, err := p.node.Images().RemoveImage(p.Context(), &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: p.image}}); err != nil {
		p.Fatal(err)
	}
}

func (p *private) debug(rest ...string) *command {
	return p.command(append([]string{"debug", p.pod.Name, "--image=" + p.image}, rest...)...)
}

// TestPullSecrets: without a credential nothing is made; from each source it
// is found; nobody else sees it.
func TestPullSecrets(t *testing.T) {
	each(t, func(e *env) {
		p := withPrivate(e, "secrets")
		p.refused(p.debug("--", "true").start().wait(), "no credential", p.image)
		wrong := p.dockerConfig(filepath.Join(e.TempDir(), "wrong.json"), "n0t-the-w0rd")
		r := p.debug("--verbose", "--pull-secret-file="+wrong, "--", "true").start().wait()
		p.refused(r, "a wrong one", p.image, wrong)
		if strings.Contains(r.stderr, "n0t-the-w0rd") || p.has() {
			e.Errorf("a wrong password: %s", r)
		}
		home := filepath.Dir(filepath.Dir(p.dockerConfig(filepath.Join(e.TempDir(), ".docker", "config.json"), testenv.RegistryPassword)))
		root := filepath.Dir(p.dockerConfig(filepath.Join(e.TempDir(), "config.json"), testenv.RegistryPassword))
		for what, c := range map[string]*command{
			"--pull-secret-file":     p.debug("--verbose", "--pull-secret-file="+filepath.Join(root, "config.json"), "--", "env"),
			"--creds-stdin":          p.debug("--verbose", "--creds-stdin", "--", "env").reading(strings.NewReader(testenv.RegistryUser + ":" + testenv.RegistryPassword + "\n")),
			"~/.docker/config.json":  p.debug("--verbose", "--", "env").with("HOME=" + home),
			"kubelet's config.json":  p.debug("--verbose", "--", "env").with("PORTHOLE_KUBELET_ROOT=" + root),
			"--creds-stdin and --rm": p.debug("--verbose", "--rm-image", "--creds-stdin", "--", "env").reading(strings.NewReader(testenv.RegistryUser + ":" + testenv.RegistryPassword + "\n")),
		} {
			proxied := e.proxy()
			r := c.with("PORTHOLE_RUNTIME_ENDPOINT=" + proxied.endpoint).start().wait()
			if r.code != 0 || !strings.Contains(r.stderr, "was pulled with a credential") || p.has() == strings.Contains(what, "--rm") {
				e.Errorf("%s: %s; the image is here: %v", what, r, p.has())
			}
			created := e.created(proxied).String()
			if shown := r.stdout + r.stderr + created + e.records(); strings.Contains(shown, testenv.RegistryPassword) {
				e.Errorf("%s: the password is shown in %s", what, shown)
			}
			p.drop()
		}
	})
}

// records is all that Porthole has written down.
func (e *env) records() string {
	var all strings.Builder
	files, _ := filepath.Glob(filepath.Join(e.state, "*", "*"))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		all.Write(text)
	}
	return all.String()
}

// TestCredentialsBeforeInput: the first line of the input is the credential, and
// not a byte more; no process has it in its arguments or environment.
func TestCredentialsBeforeInput(t *testing.T) {
	each(t, func(e *env) {
		p := withPrivate(e, "input")
		defer p.drop()
		c := p.debug("-q", "-i", "--creds-stdin", "--", "cat")
		in, err := c.cmd.StdinPipe()
		if err != nil {
			e.Fatal(err)
		}
		c.start()
		fmt.Fprint(in, testenv.RegistryUser+":"+testenv.RegistryPassword+"\nfirst\n")
		e.eventually("the input arrives", func() bool { return strings.Contains(c.stdout.String(), "first") })
		secret := []byte(testenv.RegistryPassword)
		for _, file := range []string{"cmdline", "environ"} {
			found, _ := filepath.Glob("/proc/[0-9]*/" + file)
			for _, path := range found {
				if text, _ := os.ReadFile(path); bytes.Contains(text, secret) {
					e.Errorf("%s has the password", path)
				}
			}
		}
		fmt.Fprint(in, "second\n")
		_ = in.Close()
		if r := c.ended(0); r.stdout != "first\nsecond\n" {
			e.Errorf("%s", r)
		}
	})
}

// TestRemoveImage: one that was pulled for the session goes with it, however
// that ends; another's stays.
func TestRemoveImage(t *testing.T) {
	each(t, func(e *env) {
		p := withPrivate(e, "remove")
		flags := []string{"-i", "--rm-image", "--pull-secret-file=" + p.dockerConfig(filepath.Join(e.TempDir(), "c.json"), testenv.RegistryPassword)}
		hold := func() *command {
			e.Helper()
			c := p.debug(append(flags, "--", "sh", "-c", "read line; echo $line; sleep 1000")...)
			in, err := c.cmd.StdinPipe()
			if err != nil {
				e.Fatal(err)
			}
			c.start()
			fmt.Fprintln(in, "held")
			e.eventually("it runs", func() bool { return strings.Contains(c.stdout.String(), "held") })
			return c
		}
		c := hold()
		c.signal(syscall.SIGINT)
		if c.ended(130); p.has() {
			e.Error("after ctrl-c the image is still there")
		}
		c = hold()
		c.signal(syscall.SIGKILL)
		c.ended(-int(syscall.SIGKILL))
		if !p.has() {
			e.Error("the image has gone by itself")
		}
		if r := e.run("gc"); r.code != 0 || p.has() {
			e.Errorf("after gc the image is there: %v; %s", p.has(), r)
		}
		// It was here before: no session's to remove.
		if r := p.debug("--pull-secret-file="+filepath.Join(filepath.Dir(strings.TrimPrefix(flags[2], "--pull-secret-file=")), "c.json"), "--", "true").start().wait(); r.code != 0 {
			e.Error(r)
		}
		if r := p.debug("--rm-image", "--", "true").start().wait(); r.code != 0 || !p.has() {
			e.Errorf("one that was here before: there %v, %s", p.has(), r)
		}
		p.drop()
		// Somebody else uses it meanwhile.
		c = hold()
		other := p.debug("--attach=false", "--ttl=1h", "--", "sleep", "1000").start().wait()
		c.signal(syscall.SIGINT)
		if c.ended(130); other.code != 0 || !p.has() {
			e.Errorf("an image that another container is of: there %v, %s", p.has(), other)
		}
		if r := e.run("gc", "--all", "--yes"); r.code != 0 {
			e.Error(r)
		}
		p.drop()
	})
}
