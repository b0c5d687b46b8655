package kubelet

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A Setting is one value of kubelet's and who says so.
type Setting[T any] struct {
	Value T
	// Source is zero if the value is not known.
	Source Source
}

// Known reports whether the value is kubelet's. What is not known is not the
// default either: no kubelet runs, or not all that it was given could be read.
func (s Setting[T]) Known() bool { return s.Source != Source{} }

// Settings is what the running kubelet was told, besides paths, that decides
// about a container. Flags win over configuration files, and those over
// kubelet's built-in defaults.
type Settings struct {
	// NodeName is --hostname-override or the host name, in lower case
	// (component-helpers/node/util:GetHostname). Always told; its source is
	// [Default] where no kubelet says it.
	NodeName Setting[string]
	// NodeIP is --node-ip as it was given, empty if it was not.
	NodeIP Setting[string]
	// SeccompDefault makes RuntimeDefault the profile of who asks for none.
	SeccompDefault Setting[bool]
	// CredentialProviderConfig and CredentialProviderBinDir are the flags
	// --image-credential-provider-config and -bin-dir, empty if not given.
	CredentialProviderConfig, CredentialProviderBinDir Setting[string]
	// WorkingDir and Home are where kubelet looks for Docker's configuration
	// besides its root (pkg/credentialprovider/config.go). Home is empty for a
	// process without HOME.
	WorkingDir, Home Setting[string]
	// SwapBehavior is memorySwap.swapBehavior; NoSwap by default.
	SwapBehavior Setting[string]
	// SingleProcessOOMKill is false by default on cgroup v2; on v1 it means
	// nothing (kubelet.go).
	SingleProcessOOMKill Setting[bool]
	// MemoryThrottlingFactor is 0 if it is not set, as by default.
	MemoryThrottlingFactor Setting[float64]
	// FeatureGates are those that were set. What the others are depends on
	// kubelet's version.
	FeatureGates Setting[map[string]bool]
	// KubeReserved, SystemReserved and EvictionHard are quantities by resource
	// and thresholds by signal, as written.
	KubeReserved, SystemReserved, EvictionHard Setting[map[string]string]
	// ReservedSystemCPUs is a list of CPUs, which replaces the cpu of the two
	// reservations.
	ReservedSystemCPUs Setting[string]
}

// A teller knows a kubelet's flags and files.
type teller struct {
	process
	args []string
	c    configuration
}

func (p process) settings(args []string, c configuration) Settings {
	t := teller{p, args, c}
	s := Settings{
		NodeName:                 t.nodeName(),
		NodeIP:                   Setting[string]{last(flagValues(args, "node-ip")), t.flagOrDefault("node-ip")},
		SeccompDefault:           tell(t, "", nil, "seccompDefault", c.SeccompDefault, false),
		CredentialProviderConfig: t.path("image-credential-provider-config"),
		CredentialProviderBinDir: t.path("image-credential-provider-bin-dir"),
		WorkingDir:               t.workingDir(),
		Home:                     t.homeDir(),
		SwapBehavior:             tell(t, "", nil, "memorySwap", c.MemorySwap.SwapBehavior, "NoSwap"),
		SingleProcessOOMKill:     tell(t, "", nil, "singleProcessOOMKill", c.SingleProcessOOMKill, false),
		MemoryThrottlingFactor:   tell(t, "", nil, "memoryThrottlingFactor", c.MemoryThrottlingFactor, 0),
		FeatureGates:             t.gates(),
		KubeReserved:             tell(t, "kube-reserved", pairs("="), "kubeReserved", given(c.KubeReserved), nil),
		SystemReserved:           tell(t, "system-reserved", pairs("="), "systemReserved", given(c.SystemReserved), nil),
		EvictionHard:             tell(t, "eviction-hard", pairs("<"), "evictionHard", given(c.EvictionHard), nil),
		ReservedSystemCPUs:       tell(t, "reserved-cpus", text, "reservedSystemCPUs", c.ReservedSystemCPUs, ""),
	}
	if value, said := boolFlag(args, "seccomp-default"); said {
		s.SeccompDefault = Setting[bool]{value, p.source("flag --seccomp-default")}
	}
	return s
}

// tell takes a setting from its flag, its key in the files, or the built-in
// default. A flag that we cannot read leaves it unknown.
func tell[T any](t teller, flag string, parse func([]string) (T, error), key string, file *T, builtin T) Setting[T] {
	if values := flagValues(t.args, flag); flag != "" && len(values) > 0 {
		value, err := parse(values)
		if err != nil {
			return Setting[T]{}
		}
		return Setting[T]{value, t.source("flag --" + flag)}
	}
	switch {
	case !t.c.complete:
		return Setting[T]{}
	case file != nil:
		return Setting[T]{*file, t.source(t.c.where(key))}
	}
	return Setting[T]{builtin, t.source("built-in default")}
}

func text(values []string) (string, error) { return last(values), nil }

// given tells a map that is in a file from none.
func given(m map[string]string) *map[string]string {
	if m == nil {
		return nil
	}
	return &m
}

// pairs parses what component-base/cli/flag does for maps: lists of NAME=VALUE,
// which add up over the flag's occurrences.
func pairs(separator string) func([]string) (map[string]string, error) {
	return func(values []string) (map[string]string, error) {
		all := make(map[string]string)
		for pair := range strings.SplitSeq(strings.Join(values, ","), ",") {
			name, value, ok := strings.Cut(pair, separator)
			switch {
			case pair == "":
			case !ok:
				return nil, errors.New("malformed pair")
			default:
				all[strings.TrimSpace(name)] = strings.TrimSpace(value)
			}
		}
		return all, nil
	}
}

// gates adds to those of the files what the flag says (server.go:
// kubeletConfigFlagPrecedence). Only together are they an answer.
func (t teller) gates() Setting[map[string]bool] {
	if !t.c.complete {
		return Setting[map[string]bool]{}
	}
	said, err := pairs("=")(flagValues(t.args, "feature-gates"))
	if err != nil {
		return Setting[map[string]bool]{}
	}
	gates := maps.Clone(t.c.FeatureGates)
	if gates == nil {
		gates = make(map[string]bool)
	}
	for name, value := range said {
		on, err := strconv.ParseBool(value)
		if err != nil {
			return Setting[map[string]bool]{}
		}
		gates[name] = on
	}
	return Setting[map[string]bool]{gates, t.source("feature gates")}
}

// flagOrDefault is the source of a setting that has no key in the files.
func (t teller) flagOrDefault(flag string) Source {
	if hasFlag(t.args, flag) {
		return t.source("flag --" + flag)
	}
	return t.source("built-in default")
}

// path is a flag's path, if it means the same to kubelet and to the caller.
func (t teller) path(flag string) Setting[string] {
	path, said := t.flagPath(t.args, flag)
	if !t.near || hasFlag(t.args, flag) && !said {
		return Setting[string]{}
	}
	return Setting[string]{path, t.flagOrDefault(flag)}
}

func (t teller) workingDir() Setting[string] {
	if !t.near || !filepath.IsAbs(t.cwd) {
		return Setting[string]{}
	}
	return Setting[string]{t.cwd, t.source("working directory")}
}

func (t teller) homeDir() Setting[string] {
	if !t.near || t.home == nil {
		return Setting[string]{}
	}
	return Setting[string]{*t.home, t.source("its HOME")}
}

func (t teller) nodeName() Setting[string] {
	if name := nodeName(last(flagValues(t.args, "hostname-override"))); name != "" {
		return Setting[string]{name, t.source("flag --hostname-override")}
	}
	return hostName(t.source("host name"))
}

// nodeName is what kubelet makes of a host name.
func nodeName(host string) string { return strings.ToLower(strings.TrimSpace(host)) }

func hostName(source Source) Setting[string] {
	host, err := os.Hostname()
	if name := nodeName(host); err == nil && name != "" {
		return Setting[string]{name, source}
	}
	return Setting[string]{}
}

// ofFlags keeps what flags say, for a kubelet that gets further ones, and
// files, that cannot be seen.
func (s Settings) ofFlags() Settings {
	return Settings{
		NodeName: ofFlag(s.NodeName), NodeIP: ofFlag(s.NodeIP), SeccompDefault: ofFlag(s.SeccompDefault),
		CredentialProviderConfig: ofFlag(s.CredentialProviderConfig), CredentialProviderBinDir: ofFlag(s.CredentialProviderBinDir),
		WorkingDir: s.WorkingDir, Home: s.Home,
		KubeReserved: ofFlag(s.KubeReserved), SystemReserved: ofFlag(s.SystemReserved), EvictionHard: ofFlag(s.EvictionHard),
		ReservedSystemCPUs: ofFlag(s.ReservedSystemCPUs),
	}
}

func ofFlag[T any](s Setting[T]) Setting[T] {
	if strings.Contains(s.Source.Detail, ", flag --") {
		return s
	}
	return Setting[T]{}
}
