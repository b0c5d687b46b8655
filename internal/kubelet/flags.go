package kubelet

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// configLimit is far more than any kubelet's configuration.
const configLimit = 1 << 20

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
// configuration file. A flag wins over the file (kubelet's own rule).
func (p process) tellsKubelet(args []string) findings {
	var f findings
	if root, said := p.flagPath(args, "root-dir"); said {
		f.root = p.value(root, "flag --root-dir")
	}
	config, complete := kubeletConfig{}, true
	if path, said := p.flagPath(args, "config"); said || hasFlag(args, "config") {
		var err error
		if config, err = p.readConfig(path); err != nil {
			complete = false
			f.notes = append(f.notes, fmt.Sprintf("%s: its configuration %s was not read: %v", p, path, err))
		}
		if config.PodLogsDir != "" {
			f.podLogs = p.value(config.PodLogsDir, "podLogsDir in "+path)
		}
		if config.StaticPodPath != "" {
			f.manifests = p.value(config.StaticPodPath, "staticPodPath in "+path)
		}
	}
	if hasFlag(args, "config-dir") {
		complete = false
		f.notes = append(f.notes, fmt.Sprintf("%s: the drop-ins of its --config-dir were not read", p))
	}
	if f.podLogs == (value{}) && complete {
		f.podLogs = p.value(builtinPodLogs, "built-in default")
	}
	if manifests, said := p.flagPath(args, "pod-manifest-path"); said {
		f.manifests = p.value(manifests, "flag --pod-manifest-path")
	}
	return f
}

func (p process) value(path, detail string) value {
	return value{filepath.Clean(path), Source{Process, p.String() + ", " + detail}}
}

// kubeletConfig is the part of a KubeletConfiguration (kubelet.config.k8s.io)
// that names directories.
type kubeletConfig struct {
	PodLogsDir    string `json:"podLogsDir"`
	StaticPodPath string `json:"staticPodPath"`
}

// readConfig reads a configuration whose path means the same file to kubelet
// and to the caller. Paths in it are relative to it, as kubelet has them.
func (p process) readConfig(path string) (kubeletConfig, error) {
	var config kubeletConfig
	if path == "" {
		return config, errors.New("its path is relative to a directory that cannot be told")
	}
	if !p.near {
		return config, errors.New("kubelet lives in another mount namespace or root directory than this process")
	}
	// Opening a pipe would wait for its writer.
	if info, err := os.Stat(path); err != nil {
		return config, err
	} else if !info.Mode().IsRegular() {
		return config, errors.New("not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return config, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, configLimit))
	if err != nil {
		return config, err
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		return kubeletConfig{}, err
	}
	for _, ref := range []*string{&config.PodLogsDir, &config.StaticPodPath} {
		if *ref != "" && !filepath.IsAbs(*ref) {
			*ref = filepath.Join(filepath.Dir(path), *ref)
		}
	}
	return config, nil
}

// flagPath returns the last value of a flag as an absolute path.
func (p process) flagPath(args []string, names ...string) (string, bool) {
	for _, name := range names {
		values := flagValues(args, name)
		if len(values) == 0 || values[len(values)-1] == "" {
			continue
		}
		path := values[len(values)-1]
		if filepath.IsAbs(path) {
			return filepath.Clean(path), true
		}
		if filepath.IsAbs(p.cwd) {
			return filepath.Join(p.cwd, path), true
		}
	}
	return "", false
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
