package node

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/porthole-project/porthole/test/testenv"
)

// slow is a way to the registry that tells of no image before it is told to.
type slow struct {
	*private
	asked   chan struct{} // closed when one is wanted
	release func()
}

// withSlow puts it in front of a private registry.
func withSlow(e *env, name string) *slow {
	e.Helper()
	s := &slow{private: withPrivate(e, name), asked: make(chan struct{})}
	host, path, _ := strings.Cut(s.image, "/")
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	var once, open sync.Once
	gate := make(chan struct{})
	s.release = func() { open.Do(func() { close(gate) }) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, authorized := r.BasicAuth(); authorized && strings.Contains(r.URL.Path, "/manifests/") {
			once.Do(func() { close(s.asked) })
			select {
			case <-gate:
			case <-r.Context().Done():
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	e.Cleanup(func() {
		s.release()
		server.Close()
	})
	s.image = strings.TrimPrefix(server.URL, "http://") + "/" + path
	return s
}

// pulling starts a session whose image is on its way.
func (s *slow) pulling(flags ...string) *command {
	s.Helper()
	secret := s.dockerConfig(filepath.Join(s.TempDir(), "c.json"), testenv.RegistryPassword)
	c := s.debug(append(append([]string{"--rm-image", "--pull-secret-file=" + secret}, flags...), "--", "sleep", "1000")...).start()
	select {
	case <-s.asked:
	case <-c.done:
		s.Fatalf("it ended without a pull: %s", c.stderr)
	case <-time.After(patience):
		s.Fatalf("nothing is pulled: %s", c.stderr)
	}
	return c
}

// TestInterruptedPull: who leaves while the image is on its way leaves at most
// a note for gc.
func TestInterruptedPull(t *testing.T) {
	each(t, func(e *env) {
		s := withSlow(e, "interrupted")
		c := s.pulling()
		began := time.Now()
		c.signal(syscall.SIGINT)
		r := c.ended(130)
		if took := time.Since(began); took > 5*time.Second || strings.Contains(r.stderr, testenv.RegistryPassword) {
			e.Errorf("took %s: %s", took, r)
		}
		e.plain(r.stderr)
		s.release()
		if r := e.run("gc"); r.code != 0 || s.has() || len(e.ours()) > 0 {
			e.Errorf("after gc the image is there: %v; %s", s.has(), r)
		}
	})
}

// TestKilledPull: the image arrives while nobody can do anything about it; the
// next gc knows whose it was.
func TestKilledPull(t *testing.T) {
	each(t, func(e *env) {
		s := withSlow(e, "arrives")
		c := s.pulling()
		c.signal(syscall.SIGSTOP)
		s.release()
		e.eventually("the image arrives", s.has)
		c.signal(syscall.SIGKILL)
		c.ended(-int(syscall.SIGKILL))
		if r := e.run("gc"); r.code != 0 || s.has() || !strings.Contains(r.stdout, s.pod.Name) {
			e.Errorf("after gc the image is there: %v; %s", s.has(), r)
		}
	})
}

// TestCredentialHelper asks the program that docker's configuration names, and
// only if it is nobody else's.
func TestCredentialHelper(t *testing.T) {
	each(t, func(e *env) {
		p := withPrivate(e, "helper")
		host, _, _ := strings.Cut(p.image, "/")
		home, programs := e.TempDir(), e.TempDir()
		p.dockerConfig(filepath.Join(home, ".docker", "config.json"), "n0t-the-w0rd")
		config := fmt.Appendf(nil, `{"credHelpers":{%q:"test"}}`, host)
		answer := fmt.Sprintf("#!/bin/sh\n[ $1 = get ] && [ $(cat) = %s ] && echo '{\"Username\":%q,\"Secret\":%q}'\n", host, testenv.RegistryUser, testenv.RegistryPassword)
		for path, file := range map[string]struct {
			text []byte
			mode os.FileMode
		}{
			filepath.Join(home, ".docker", "config.json"):     {config, 0o600},
			filepath.Join(programs, "docker-credential-test"): {[]byte(answer), 0o700},
		} {
			if err := os.WriteFile(path, file.text, file.mode); err != nil {
				e.Fatal(err)
			}
			if err := os.Chmod(path, file.mode); err != nil {
				e.Fatal(err)
			}
		}
		ask := func() result {
			return p.debug("--verbose", "--rm-image", "--", "env").with("HOME="+home, "PATH="+programs+":"+os.Getenv("PATH")).start().wait()
		}
		if r := ask(); r.code != 0 || strings.Contains(r.stdout+r.stderr+e.records(), testenv.RegistryPassword) || !strings.Contains(r.stderr, "was pulled with a credential") || p.has() {
			e.Errorf("with a helper: %s; the image is here: %v", r, p.has())
		}
		if err := os.Chmod(filepath.Join(programs, "docker-credential-test"), 0o777); err != nil {
			e.Fatal(err)
		}
		p.refused(ask(), "a helper that anybody can write", p.image, "can be written by others")
	})
}

// TestWrongCredentials: the right one may be tried later; none is quoted.
func TestWrongCredentials(t *testing.T) {
	each(t, func(e *env) {
		p := withPrivate(e, "wrong")
		defer p.drop()
		const wrong = "n0t-the-w0rd"
		bad := p.dockerConfig(filepath.Join(e.TempDir(), "bad.json"), wrong)
		r := p.debug("--verbose", "--creds-stdin", "--", "true").reading(strings.NewReader("eve:" + wrong + "\n")).start().wait()
		p.refused(r, "from standard input", p.image, "with the credential of the given USER:PASSWORD")
		if strings.Contains(r.stderr, wrong) {
			e.Errorf("the password is shown: %s", r)
		}
		for what, input := range map[string]string{"nothing": "", "no colon": wrong + "\n", "empty": "\n"} {
			r := p.debug("--creds-stdin", "--", "true").reading(strings.NewReader(input)).start().wait()
			p.refused(r, what, "--creds-stdin")
			if strings.Contains(r.stderr, wrong) {
				e.Errorf("%s: it is shown: %s", what, r)
			}
		}
		p.refused(p.debug("--pull-secret-file="+e.file("secret.json", wrong), "--", "true").start().wait(), "no configuration", "secret.json", "not a Docker configuration")
		p.refused(p.debug("--pull-secret-file="+filepath.Join(e.TempDir(), "none"), "--", "true").start().wait(), "no file", "no such file")
		// Each is tried until one is right, those of the flags before the user's own.
		home := filepath.Dir(filepath.Dir(p.dockerConfig(filepath.Join(e.TempDir(), ".docker", "config.json"), testenv.RegistryPassword)))
		r = p.debug("--pull-secret-file="+bad, "--creds-stdin", "--", "echo", "in").with("HOME=" + home).
			reading(strings.NewReader(testenv.RegistryUser + ":" + testenv.RegistryPassword + "\n")).start().wait()
		if r.code != 0 || r.stdout != "in\n" || !strings.Contains(r.stderr, "was pulled with a credential (the given USER:PASSWORD)") {
			e.Errorf("the second of three: %s", r)
		}
		// It is here now, and needs none.
		if r := p.debug("-q", "--", "echo", "here").start().wait(); r.code != 0 || r.stdout != "here\n" || r.stderr != "" {
			e.Errorf("once it is here: %s", r)
		}
	})
}
