package config

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
)

// setting is one key of the file and the variable that overrides it.
type setting struct {
	key   string
	env   string // empty: none does
	kind  kind
	field func(*Config) any // *string or *time.Duration
}

// kind is what values a setting takes.
type kind struct {
	want  string // completes "want …" in an error
	valid func(string) bool
}

var (
	endpoint  = kind{"a socket's absolute path or unix:// URL, such as unix:///run/containerd/containerd.sock", isEndpoint}
	directory = kind{"an absolute path", path.IsAbs}
	namespace = kind{"the name of a Kubernetes namespace", isNamespace}
	word      = kind{"a name without spaces", isWord}
	duration  = kind{"a positive duration with a unit, such as 90s or 1h30m", isDuration}
)

var settings = []setting{
	{"runtimeEndpoint", "PORTHOLE_RUNTIME_ENDPOINT", endpoint, func(c *Config) any { return &c.RuntimeEndpoint }},
	{"imageEndpoint", "PORTHOLE_IMAGE_ENDPOINT", endpoint, func(c *Config) any { return &c.ImageEndpoint }},
	{"namespace", "PORTHOLE_NAMESPACE", namespace, func(c *Config) any { return &c.Namespace }},
	{"kubeletRoot", "PORTHOLE_KUBELET_ROOT", directory, func(c *Config) any { return &c.KubeletRoot }},
	{"staticPodPath", "PORTHOLE_STATIC_POD_PATH", directory, func(c *Config) any { return &c.StaticPodPath }},
	{"stateDir", "PORTHOLE_STATE_DIR", directory, func(c *Config) any { return &c.StateDir }},
	{"timeout", "PORTHOLE_TIMEOUT", duration, func(c *Config) any { return &c.Timeout }},
	{"pullTimeout", "PORTHOLE_PULL_TIMEOUT", duration, func(c *Config) any { return &c.PullTimeout }},
	{"debug.image", "PORTHOLE_IMAGE", word, func(c *Config) any { return &c.Debug.Image }},
	{"debug.profile", "PORTHOLE_PROFILE", word, func(c *Config) any { return &c.Debug.Profile }},
	{"debug.ttl", "PORTHOLE_TTL", duration, func(c *Config) any { return &c.Debug.TTL }},
	{"debug.maxTTL", "", duration, func(c *Config) any { return &c.Debug.MaxTTL }},
}

// set gives c the value, found at the place that an error is to name.
func (s setting) set(c *Config, place, value string) error {
	if !s.kind.valid(value) {
		return s.refuse(place, fmt.Sprintf("%q", value))
	}
	switch field := s.field(c).(type) {
	case *string:
		*field = value
	case *time.Duration:
		*field, _ = time.ParseDuration(value) // valid has tried it
	}
	return nil
}

func (s setting) refuse(place, value string) error {
	return invalid(fmt.Sprintf("%s: %s; want %s", place, value, s.kind.want))
}

// FromEnv is c with the PORTHOLE_* variables of environ over it, which has the
// form of os.Environ. An empty variable counts as not set. A variable that is
// not known is none of ours: there are others, and there will be more.
func (c Config) FromEnv(environ []string) (Config, error) {
	ttlFrom := ""
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		i := slices.IndexFunc(settings, func(s setting) bool { return s.env != "" && s.env == name })
		if i < 0 || value == "" {
			continue
		}
		if err := settings[i].set(&c, "variable "+name, value); err != nil {
			return Config{}, err
		}
		if settings[i].key == "debug.ttl" {
			ttlFrom = "variable " + name
		}
	}
	return c.bounded(ttlFrom)
}

// bounded is c with its TTL within the maximum: one that was set, at the place
// ttlFrom, must be so already; another is lowered.
func (c Config) bounded(ttlFrom string) (Config, error) {
	if c.Debug.TTL > c.Debug.MaxTTL && ttlFrom != "" {
		return Config{}, invalid(fmt.Sprintf("%s: %s; want no more than debug.maxTTL, which is %s", ttlFrom, c.Debug.TTL, c.Debug.MaxTTL))
	}
	c.Debug.TTL = min(c.Debug.TTL, c.Debug.MaxTTL)
	return c, nil
}

func isEndpoint(s string) bool {
	return path.IsAbs(strings.TrimPrefix(s, "unix://")) && isWord(s)
}

// isNamespace holds s against RFC 1123 labels, as the API server does.
func isNamespace(s string) bool {
	alien := func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') }
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' && !strings.ContainsFunc(s, alien)
}

func isWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
}

func isDuration(s string) bool {
	d, err := time.ParseDuration(s)
	return err == nil && d > 0
}
