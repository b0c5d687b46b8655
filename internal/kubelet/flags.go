package kubelet

import (
	"path/filepath"
	"strconv"
	"strings"
)

// k3sData is k3s's --data-dir when it runs as root.
const k3sData = "/var/lib/rancher/k3s"

// tells returns what the process was started with.
func (p process) tells() findings {
	switch p.name {
	case "k3s":
		return p.tellsK3s()
	case "k0s":
		return p.tellsK0s()
	}
	f := p.tellsKubelet(p.args)
	if f.root == (value{}) && !hasFlag(p.args, "root-dir") {
		f.root = p.value(builtinRoot, "built-in default")
	}
	return f
}

// tellsK3s: kubelet is a part of the k3s process and gets its flags by
// --kubelet-arg. Hidden flags are the rule, so what is missing proves nothing.
func (p process) tellsK3s() findings {
	var args []string
	for _, arg := range flagValues(p.args, "kubelet-arg") {
		args = append(args, "--"+strings.TrimLeft(arg, "-"))
	}
	f := p.tellsKubelet(args)
	f.settings = f.settings.ofFlags()
	if name := last(flagValues(p.args, "node-name")); name != "" {
		f.settings.NodeName = Setting[string]{nodeName(name), p.source("flag --node-name")}
	}
	if f.manifests == (value{}) {
		data, detail := k3sData, "below the usual data directory"
		if said, ok := p.flagPath(p.args, "data-dir", "d"); ok {
			data, detail = said, "below its --data-dir"
		}
		f.manifests = p.value(filepath.Join(data, "agent/pod-manifests"), detail)
	}
	if len(args) == 0 {
		f.podLogs = value{}
	}
	return f
}

// tellsK0s: kubelet is a child with flags of its own; k0s itself is asked only
// while that one is down.
func (p process) tellsK0s() findings {
	if root, said := p.flagPath(p.args, "kubelet-root-dir"); said {
		return findings{root: p.value(root, "flag --kubelet-root-dir")}
	}
	if data, said := p.flagPath(p.args, "data-dir"); said {
		return findings{root: p.value(filepath.Join(data, "kubelet"), "below its --data-dir")}
	}
	return findings{}
}

// tellsKubelet reads kubelet's flags and, where that is safe, its
// configuration. A flag wins over the files (kubelet's own rule).
func (p process) tellsKubelet(args []string) findings {
	var f findings
	if root, said := p.flagPath(args, "root-dir"); said {
		f.root = p.value(root, "flag --root-dir")
	}
	c := p.configuration(args)
	f.notes = c.notes
	if c.PodLogsDir != "" {
		f.podLogs = p.value(c.path(p, "podLogsDir", c.PodLogsDir), c.where("podLogsDir"))
	}
	if c.StaticPodPath != "" {
		f.manifests = p.value(c.path(p, "staticPodPath", c.StaticPodPath), c.where("staticPodPath"))
	}
	if f.podLogs == (value{}) && c.complete {
		f.podLogs = p.value(builtinPodLogs, "built-in default")
	}
	if manifests, said := p.flagPath(args, "pod-manifest-path"); said {
		f.manifests = p.value(manifests, "flag --pod-manifest-path")
	}
	f.settings = p.settings(args, c)
	return f
}

func (p process) value(path, detail string) value {
	return value{filepath.Clean(path), p.source(detail)}
}

func (p process) source(detail string) Source { return Source{Process, p.String() + ", " + detail} }

// flagPath returns the last value of a flag as an absolute path.
func (p process) flagPath(args []string, names ...string) (string, bool) {
	for _, name := range names {
		path := last(flagValues(args, name))
		if path == "" {
			continue
		}
		if filepath.IsAbs(path) {
			return filepath.Clean(path), true
		}
		if filepath.IsAbs(p.cwd) {
			return filepath.Join(p.cwd, path), true
		}
	}
	return "", false
}

// last returns the last value of a flag, which is the one that counts.
func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// boolFlag returns the last value of a flag that is true without one, and
// never takes one from the next argument.
func boolFlag(args []string, name string) (value, said bool) {
	for _, arg := range args {
		if arg == "--" {
			break
		}
		flag, text, inline := strings.Cut(arg, "=")
		bare := strings.TrimPrefix(strings.TrimPrefix(flag, "-"), "-")
		if bare == flag || strings.ReplaceAll(bare, "_", "-") != name {
			continue
		}
		parsed, err := strconv.ParseBool(text)
		if value, said = !inline || parsed, !inline || err == nil; !said {
			return false, false
		}
	}
	return value, said
}

func hasFlag(args []string, name string) bool { return len(flagValues(args, name)) > 0 }

// flagValues returns every value given to a flag, as `--name=value` or
// `--name value`, with one dash or two. Kubelet takes "_" for "-".
func flagValues(args []string, name string) []string {
	var values []string
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			break
		}
		flag, value, inline := strings.Cut(args[i], "=")
		bare := strings.TrimPrefix(strings.TrimPrefix(flag, "-"), "-")
		if bare == flag || strings.ReplaceAll(bare, "_", "-") != name {
			continue
		}
		if !inline && i+1 < len(args) {
			i++
			value = args[i]
		}
		values = append(values, value)
	}
	return values
}
