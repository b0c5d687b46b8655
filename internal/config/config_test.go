package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

// with is the defaults, changed.
func with(change func(*Config)) Config {
	c := Default()
	change(&c)
	return c
}

func write(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const everything = `
# for the nodes of rack 7
runtimeEndpoint: unix:///run/k3s/containerd/containerd.sock
imageEndpoint: /run/images.sock
namespace: kube-system
kubeletRoot: /srv/kubelet
staticPodPath: /srv/manifests
stateDir: /srv/porthole
timeout: 2500ms
pullTimeout: 10m
debug:
  image: registry.k8s.io/toolbox:1@sha256:0
  profile: netadmin
  ttl: 1h30m
  maxTTL: 24h
`

func TestLoad(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		want    Config
	}{
		"nothing":        {"", Default()},
		"comments":       {"# runtimeEndpoint: x\n", Default()},
		"empty mapping":  {"---\n{}\n", Default()},
		"empty section":  {"debug:\n  # image: x\n", Default()},
		"JSON":           {`{"debug":{"image":"x"}}`, with(func(c *Config) { c.Debug.Image = "x" })},
		"end marker":     {"%YAML 1.1\n--- # node\nnamespace: a\n...\n---\n# no more\n", with(func(c *Config) { c.Namespace = "a" })},
		"lower maximum":  {"debug: {maxTTL: 10m}", with(func(c *Config) { c.Debug.MaxTTL, c.Debug.TTL = 10*time.Minute, 10*time.Minute })},
		"higher maximum": {"debug: {maxTTL: 100h}", with(func(c *Config) { c.Debug.MaxTTL = 100 * time.Hour })},
		"everything": {everything, Config{
			RuntimeEndpoint: "unix:///run/k3s/containerd/containerd.sock", ImageEndpoint: "/run/images.sock", Namespace: "kube-system",
			KubeletRoot: "/srv/kubelet", StaticPodPath: "/srv/manifests", StateDir: "/srv/porthole", Timeout: 2500 * time.Millisecond, PullTimeout: 10 * time.Minute,
			Debug: Debug{Image: "registry.k8s.io/toolbox:1@sha256:0", Profile: "netadmin", TTL: 90 * time.Minute, MaxTTL: 24 * time.Hour},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Load(write(t, c.content), true)
			if err != nil || got != c.want {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestEverySettingIsRead(t *testing.T) {
	for _, s := range settings {
		got, err := Load(write(t, everything), true)
		if err != nil {
			t.Fatal(err)
		}
		base := Default()
		if a, b := fmt.Sprint(deref(s.field(&got))), fmt.Sprint(deref(s.field(&base))); a == b {
			t.Errorf("%s in the file has no effect: %s", s.key, a)
		}
	}
}

func deref(field any) any {
	if d, ok := field.(*time.Duration); ok {
		return *d
	}
	return *field.(*string)
}

func TestLoadRefuses(t *testing.T) {
	const anEndpoint = "; want a socket's absolute path or unix:// URL, such as unix:///run/containerd/containerd.sock"
	const aDuration = "; want a positive duration with a unit, such as 90s or 1h30m"
	for content, want := range map[string]string{
		"runtimeEndpoint: tcp://1.2.3.4:5":         `runtimeEndpoint: "tcp://1.2.3.4:5"` + anEndpoint,
		"imageEndpoint: unix://run/x":              `imageEndpoint: "unix://run/x"` + anEndpoint,
		"runtimeEndpoint: ''":                      `runtimeEndpoint: ""` + anEndpoint,
		"namespace: Prod":                          `namespace: "Prod"; want the name of a Kubernetes namespace`,
		"namespace: ../x":                          `namespace: "../x"; want the name of a Kubernetes namespace`,
		"namespace:":                               `namespace: no value; want the name of a Kubernetes namespace`,
		"namespace: 12":                            `namespace: 12, which is no string; want the name of a Kubernetes namespace`,
		"stateDir: var/lib":                        `stateDir: "var/lib"; want an absolute path`,
		"kubeletRoot: [/a]":                        `kubeletRoot: a list or section; want an absolute path`,
		"timeout: 30":                              `timeout: 30, which is no string` + aDuration,
		"timeout: '30'":                            `timeout: "30"` + aDuration,
		"pullTimeout: 0s":                          `pullTimeout: "0s"` + aDuration,
		"debug: {ttl: -1h}":                        `debug.ttl: "-1h"` + aDuration,
		"debug: {image: a b}":                      `debug.image: "a b"; want a name without spaces`,
		"debug: {profile: on}":                     `debug.profile: true, which is no string; want a name without spaces`,
		"debug: {ttl: 9h}":                         `debug.ttl: 9h0m0s; want no more than debug.maxTTL, which is 8h0m0s`,
		"debug: {ttl: 2h, maxTTL: 1h}":             `debug.ttl: 2h0m0s; want no more than debug.maxTTL, which is 1h0m0s`,
		"debug: busybox":                           `debug: "busybox"; want a section of keys`,
		"namespaces: a":                            `unknown field "namespaces"; want one of ` + keys(),
		"Namespace: a":                             `unknown field "Namespace"; want one of ` + keys(),
		"debug: {tll: 1h}":                         `unknown field "debug.tll"; want one of ` + keys(),
		"namespace: a\nnamespace: b":               `line 2: key "namespace" already set in map`,
		"debug: {ttl: 1h, ttl: 2h}":                `line 1: key "ttl" already set in map`,
		"namespace: a\n---\ndebug: {maxTTL: 1m}\n": "more than one YAML document",
		"- a":            "a list or section; want keys and values",
		"a":              `"a"; want keys and values`,
		"a: [":           "line 1: did not find expected node content",
		"\tnamespace: a": "found character that cannot start any token",
	} {
		path := write(t, content)
		c, err := Load(path, true)
		if err == nil || c != (Config{}) {
			t.Errorf("%q: got %+v, %v", content, c, err)
			continue
		}
		if got := strings.TrimPrefix(err.Error(), "config file "+path+": "); got != want {
			t.Errorf("%q:\ngot  %s\nwant %s", content, got, want)
		}
		if !errors.Is(err, errdefs.ErrInvalidArgument) {
			t.Errorf("%q: %v is not errdefs.ErrInvalidArgument", content, err)
		}
	}
}

func TestLoadOfNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no", "config.yaml")
	if got, err := Load(path, false); err != nil || got != Default() {
		t.Errorf("got %+v, %v; want the defaults", got, err)
	}
	if _, err := Load(path, true); !errors.Is(err, errdefs.ErrNotFound) || !strings.Contains(err.Error(), path) {
		t.Errorf("a missing file that must exist gives: %v", err)
	}
}

func TestLoadDistrustsTheFile(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	open := write(t, "namespace: a")
	if err := os.Chmod(open, 0o666); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link") // as ConfigMaps are mounted
	if err := os.Symlink(write(t, "namespace: a"), link); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		root bool
		want string // in the error; empty: none
	}{
		"directory":              {dir, false, "it is a directory; want a regular file"},
		"named pipe":             {fifo, false, "it is a named pipe; want a regular file"},
		"device":                 {os.DevNull, false, "it is a device; want a regular file"},
		"large":                  {write(t, strings.Repeat("#\n", maxBytes)), false, "more than 1048576 bytes"},
		"world-writable, root":   {open, true, "everybody may write it (mode 0666), so root must not trust it; run chmod o-w on it"},
		"world-writable, a user": {open, false, ""},
		"link, root":             {link, true, ""},
	} {
		got, err := load(c.path, true, c.root)
		switch {
		case c.want == "" && (err != nil || got.Namespace != "a"):
			t.Errorf("%s: got %+v, %v", name, got, err)
		case c.want != "" && (!errors.Is(err, errdefs.ErrInvalidArgument) || err.Error() != "config file "+c.path+": "+c.want):
			t.Errorf("%s: got error %v", name, err)
		}
	}
}

func TestFromEnv(t *testing.T) {
	base := with(func(c *Config) { c.Namespace, c.Debug.MaxTTL = "from-file", 2*time.Hour })
	got, err := base.FromEnv([]string{
		"PORTHOLE_RUNTIME_ENDPOINT=/a", "PORTHOLE_IMAGE_ENDPOINT=unix:///b=c", "PORTHOLE_KUBELET_ROOT=/k", "PORTHOLE_STATIC_POD_PATH=/m", "PORTHOLE_STATE_DIR=/s",
		"PORTHOLE_TIMEOUT=1s", "PORTHOLE_PULL_TIMEOUT=2s", "PORTHOLE_IMAGE=i", "PORTHOLE_PROFILE=p", "PORTHOLE_TTL=2h",
		"PORTHOLE_NAMESPACE=", "PORTHOLE_FROBNICATE=1", "PORTHOLE_MAX_TTL=9h", "PORTHOLE_", "=", "", "TTL=x",
	})
	want := Config{RuntimeEndpoint: "/a", ImageEndpoint: "unix:///b=c", Namespace: "from-file", KubeletRoot: "/k", StaticPodPath: "/m", StateDir: "/s",
		Timeout: time.Second, PullTimeout: 2 * time.Second, Debug: Debug{Image: "i", Profile: "p", TTL: 2 * time.Hour, MaxTTL: 2 * time.Hour}}
	if err != nil || got != want {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	if got, err := base.FromEnv(nil); err != nil || got != base {
		t.Errorf("no variables: got %+v, %v", got, err)
	}
	for pair, want := range map[string]string{
		"PORTHOLE_TTL=soon":    `variable PORTHOLE_TTL: "soon"; want a positive duration with a unit, such as 90s or 1h30m`,
		"PORTHOLE_TTL=3h":      `variable PORTHOLE_TTL: 3h0m0s; want no more than debug.maxTTL, which is 2h0m0s`,
		"PORTHOLE_NAMESPACE=-": `variable PORTHOLE_NAMESPACE: "-"; want the name of a Kubernetes namespace`,
		"PORTHOLE_STATE_DIR=x": `variable PORTHOLE_STATE_DIR: "x"; want an absolute path`,
	} {
		if _, err := base.FromEnv([]string{pair}); !errors.Is(err, errdefs.ErrInvalidArgument) || err.Error() != want {
			t.Errorf("%s: got error %v, want %s", pair, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(everything)
	f.Add("debug: {ttl: 2h, maxTTL: 1h}\n---\n...\n%x")
	f.Fuzz(func(t *testing.T, content string) {
		c, err := parse("config.yaml", []byte(content))
		if err != nil {
			if !errors.Is(err, errdefs.ErrInvalidArgument) {
				t.Errorf("%q: %v", content, err)
			}
			return
		}
		for _, s := range settings {
			if d, ok := s.field(&c).(*time.Duration); ok && *d <= 0 {
				t.Errorf("%q: %s is %s", content, s.key, *d)
			}
		}
		if c.Debug.TTL > c.Debug.MaxTTL {
			t.Errorf("%q: TTL %s exceeds %s", content, c.Debug.TTL, c.Debug.MaxTTL)
		}
	})
}
