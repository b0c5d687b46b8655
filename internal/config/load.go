package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"sigs.k8s.io/yaml"
)

// maxBytes is far more than all keys need.
const maxBytes = 1 << 20

// Load reads the file at path over the defaults. A file that does not exist is
// an empty one, unless mustExist; then the error is errdefs.ErrNotFound.
//
// The file must be a regular one. When root reads it nobody but its owner and
// group may be able to write it: it chooses the socket and the image that root
// will trust.
func Load(path string, mustExist bool) (Config, error) {
	return load(path, mustExist, os.Geteuid() == 0)
}

func load(path string, mustExist, root bool) (Config, error) {
	data, err := read(path, root)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !mustExist:
		return Default(), nil
	case errors.Is(err, fs.ErrNotExist):
		return Config{}, fmt.Errorf("config file %s does not exist: %w", path, errdefs.ErrNotFound)
	case err != nil:
		return Config{}, err
	}
	return parse(path, data)
}

// read refuses what it has opened, not what lay there before: the checks
// cannot be raced.
func read(path string, root bool) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("config file %s cannot be read: %w", path, errdefs.ErrPermissionDenied)
		}
		return nil, fmt.Errorf("config file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("config file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, invalid(fmt.Sprintf("config file %s: it is %s; want a regular file", path, describe(info.Mode())))
	}
	if root && info.Mode().Perm()&0o002 != 0 {
		return nil, invalid(fmt.Sprintf("config file %s: everybody may write it (mode %#o), so root must not trust it; run chmod o-w on it", path, info.Mode().Perm()))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("config file: %w", err)
	}
	if len(data) > maxBytes {
		return nil, invalid(fmt.Sprintf("config file %s: more than %d bytes", path, maxBytes))
	}
	return data, nil
}

func describe(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "neither a file nor a directory"
}

func parse(path string, data []byte) (Config, error) {
	// The decoder would silently ignore all but the first document.
	if documents(string(data)) > 1 {
		return Config{}, invalid(fmt.Sprintf("config file %s: more than one YAML document", path))
	}
	// A map and not a struct: encoding/json, which decodes into structs, takes
	// keys in any case and cannot tell where an unknown one was.
	var top any
	if err := yaml.UnmarshalStrict(data, &top); err != nil {
		return Config{}, invalid(fmt.Sprintf("config file %s: %s", path, explain(err)))
	}
	tree, ok := top.(map[string]any)
	if !ok && top != nil {
		return Config{}, invalid(fmt.Sprintf("config file %s: %s; want keys and values", path, show(top)))
	}
	c := Default()
	ttlFrom, err := apply(&c, path, "", tree)
	if err != nil {
		return Config{}, err
	}
	return c.bounded(ttlFrom)
}

// apply sets in c what the tree of keys under prefix says. It tells where it
// found debug.ttl.
func apply(c *Config, path, prefix string, tree map[string]any) (ttlFrom string, err error) {
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		key, value := prefix+name, tree[name]
		place := fmt.Sprintf("config file %s: %s", path, key)
		if isSection(key) {
			section, ok := value.(map[string]any)
			if !ok && value != nil { // nil: all its keys are commented out
				return "", invalid(fmt.Sprintf("%s: %s; want a section of keys", place, show(value)))
			}
			from, err := apply(c, path, key+".", section)
			if err != nil {
				return "", err
			}
			ttlFrom = from
			continue
		}
		i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key })
		if i < 0 {
			return "", invalid(fmt.Sprintf("config file %s: unknown field %q; want one of %s", path, key, keys()))
		}
		text, ok := value.(string)
		if !ok {
			return "", settings[i].refuse(place, show(value))
		}
		if err := settings[i].set(c, place, text); err != nil {
			return "", err
		}
		if key == "debug.ttl" {
			ttlFrom = place
		}
	}
	return ttlFrom, nil
}

func isSection(key string) bool {
	return slices.ContainsFunc(settings, func(s setting) bool { return strings.HasPrefix(s.key, key+".") })
}

func keys() string {
	var all []string
	for _, s := range settings {
		all = append(all, s.key)
	}
	return strings.Join(all, ", ")
}

// show is for values that are not the string they should be.
func show(value any) string {
	switch value := value.(type) {
	case nil:
		return "no value"
	case string:
		return fmt.Sprintf("%q", value)
	case map[string]any, []any:
		return "a list or section"
	default:
		return fmt.Sprintf("%v, which is no string", value)
	}
}

// documents counts the YAML documents that have any content.
func documents(data string) int {
	n, inside := 0, false
	for line := range strings.Lines(data) {
		line = strings.TrimRight(line, " \t\r\n")
		rest, marker := strings.CutPrefix(line, "---")
		if marker = marker && (rest == "" || rest[0] == ' '); marker || line == "..." {
			inside = false
		} else {
			rest = line
		}
		rest = strings.TrimLeft(rest, " \t")
		if rest != "" && rest != "..." && rest[0] != '#' && rest[0] != '%' && !inside {
			n, inside = n+1, true
		}
	}
	return n
}

// explain strips what the layers below say about themselves.
func explain(err error) string {
	text := err.Error()
	for _, noise := range []string{"error converting YAML to JSON: ", "error unmarshaling JSON: ", "while decoding JSON: ", "yaml: ", "unmarshal errors:\n  "} {
		text = strings.TrimPrefix(text, noise)
	}
	return strings.ReplaceAll(text, "\n  ", "; ")
}
