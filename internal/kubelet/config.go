package kubelet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"syscall"

	"sigs.k8s.io/yaml"
)

// configLimit is far more than any kubelet's configuration.
const configLimit = 1 << 20

// kubeletConfig is the part of a KubeletConfiguration (kubelet.config.k8s.io)
// that decides about the containers of a pod.
type kubeletConfig struct {
	PodLogsDir    string `json:"podLogsDir"`
	StaticPodPath string `json:"staticPodPath"`

	SeccompDefault         *bool             `json:"seccompDefault"`
	SingleProcessOOMKill   *bool             `json:"singleProcessOOMKill"`
	MemoryThrottlingFactor *float64          `json:"memoryThrottlingFactor"`
	FeatureGates           map[string]bool   `json:"featureGates"`
	KubeReserved           map[string]string `json:"kubeReserved"`
	SystemReserved         map[string]string `json:"systemReserved"`
	EvictionHard           map[string]string `json:"evictionHard"`
	ReservedSystemCPUs     *string           `json:"reservedSystemCPUs"`
	MemorySwap             struct {
		SwapBehavior *string `json:"swapBehavior"`
	} `json:"memorySwap"`
	MergeDefaultEvictionSettings bool `json:"mergeDefaultEvictionSettings"`
}

// A configuration is what kubelet's files say together.
type configuration struct {
	kubeletConfig
	// from is the file that has the last word on a top-level key.
	from map[string]string
	main string
	// complete is set if all that kubelet was given to read was read.
	complete bool
	notes    []string
}

// configuration reads the file of --config and the drop-ins of --config-dir,
// whose JSON is merged over it in their order
// (cmd/kubelet/app/server.go:mergeKubeletConfigurations).
func (p process) configuration(args []string) configuration {
	c := configuration{from: make(map[string]string), complete: true}
	tree := make(map[string]any)
	path, said := p.flagPath(args, "config")
	if said || hasFlag(args, "config") {
		c.main = path
		var err error
		if tree, err = p.readConfig(path); err != nil {
			c.missed("%s: its configuration %s was not read: %v", p, path, err)
		} else {
			for key := range tree {
				c.from[key] = path
			}
			tree = c.withEviction(tree)
		}
	}
	if dir, said := p.flagPath(args, "config-dir"); said || hasFlag(args, "config-dir") {
		if err := p.readDropIns(dir, func(file string, patch map[string]any) {
			for key := range patch {
				c.from[key] = file
			}
			tree = merge(tree, patch)
		}); err != nil {
			c.missed("%s: the drop-ins of its --config-dir were not read: %v", p, err)
		}
	}
	if err := convert(tree, &c.kubeletConfig); err != nil {
		c.kubeletConfig = kubeletConfig{}
		c.missed("%s: its configuration %s was not read: %v", p, path, err)
	}
	return c
}

func (c *configuration) missed(format string, args ...any) {
	c.complete = false
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

// where says for people which file a key is in.
func (c *configuration) where(key string) string { return key + " in " + c.from[key] }

// path makes a path of the configuration absolute. In the file it is relative
// to that (configfiles.go:resolveRelativePaths), in a drop-in to kubelet's
// working directory.
func (c *configuration) path(p process, key, path string) string {
	switch {
	case filepath.IsAbs(path):
		return path
	case c.from[key] == c.main:
		return filepath.Join(filepath.Dir(c.main), path)
	}
	return filepath.Join(p.cwd, path)
}

// withEviction adds the hard eviction thresholds that a configuration file
// which does not speak of them gets, before the drop-ins (server.go:
// loadConfigFile). Without any file there are none.
func (c *configuration) withEviction(tree map[string]any) map[string]any {
	var config kubeletConfig
	if convert(tree, &config) != nil {
		return tree
	}
	builtin := map[string]any{"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%",
		"imagefs.available": "15%", "imagefs.inodesFree": "5%"} // eviction/defaults_linux.go
	switch {
	case config.EvictionHard == nil:
		c.from["evictionHard"] = "the built-in defaults"
		return merge(tree, map[string]any{"evictionHard": builtin})
	case config.MergeDefaultEvictionSettings:
		return merge(map[string]any{"evictionHard": builtin}, tree)
	}
	return tree
}

// merge is RFC 7396: objects are merged, null removes, all else replaces.
func merge(target, patch map[string]any) map[string]any {
	merged := maps.Clone(target)
	if merged == nil {
		merged = make(map[string]any)
	}
	for key, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(merged, key)
		case map[string]any:
			below, _ := merged[key].(map[string]any)
			merged[key] = merge(below, value)
		default:
			merged[key] = value
		}
	}
	return merged
}

func convert(tree map[string]any, into *kubeletConfig) error {
	text, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// readDropIns hands out the files *.conf below a directory in lexical order.
func (p process) readDropIns(dir string, add func(file string, patch map[string]any)) error {
	if dir == "" || !p.near {
		return p.farFrom(dir)
	}
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".conf" {
			return err
		}
		patch, err := p.readConfig(path)
		if err == nil {
			add(path, patch)
		}
		return err
	})
}

// farFrom says why a path does not mean the same file to kubelet and to the
// caller.
func (p process) farFrom(path string) error {
	if path == "" {
		return errors.New("its path is relative to a directory that cannot be told")
	}
	return errors.New("kubelet lives in another mount namespace or root directory than this process")
}

// readConfig reads a configuration whose path means the same file to kubelet
// and to the caller.
func (p process) readConfig(path string) (map[string]any, error) {
	if path == "" || !p.near {
		return nil, p.farFrom(path)
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(file, configLimit+1))
	if err != nil {
		return nil, err
	}
	if len(text) > configLimit {
		return nil, fmt.Errorf("more than %d bytes", configLimit)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	return tree, convert(tree, &kubeletConfig{})
}
