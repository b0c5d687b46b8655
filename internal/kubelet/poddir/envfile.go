package poddir

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

// envFileLimit is what we read of a file with variables; kubelet has none.
const envFileLimit = 1 << 20

// EnvFileKey returns the value of a key in a file of an emptyDir, for an
// environment variable by fileKeyRef (feature gate EnvFiles, on since 1.35;
// kubelet_pods.go:makeEnvironmentVariables).
//
// As for kubelet an empty value is none, ok is false if there is none and the
// reference is optional, and a file that does not exist or cannot be parsed is
// an error even then. Errors are [errdefs.ErrNotFound] for a key, file or
// volume that does not exist, and [errdefs.ErrInvalidArgument] for what the API
// or kubelet's parser refuses. Unlike for kubelet, a link in the volume must
// not be absolute.
func (d Dir) EnvFileKey(spec *corev1.PodSpec, ref *corev1.FileKeySelector) (value string, ok bool, err error) {
	where := fmt.Sprintf("file %q in volume %q", ref.Path, ref.VolumeName)
	// validation.go:validateFileKeyRefVolumes, validateFileKeySelector.
	if spec != nil {
		if plugin, _ := pluginOf(source(spec, ref.VolumeName)); plugin != emptyDir {
			return "", false, fmt.Errorf("%s: variables can only be read from an emptyDir: %w", where, errdefs.ErrInvalidArgument)
		}
	}
	if !filepath.IsLocal(ref.Path) {
		return "", false, fmt.Errorf("%s: its path leaves the volume: %w", where, errdefs.ErrInvalidArgument)
	}
	volume, err := d.Volume(spec, ref.VolumeName)
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", where, err)
	}
	root, err := os.OpenRoot(volume.Path)
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", where, classed(err))
	}
	defer root.Close()
	text, err := read(root, ref.Path, envFileLimit)
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", where, err)
	}
	value, err = envValue(text, ref.Key)
	switch {
	case err != nil:
		return "", false, fmt.Errorf("%s: %w: %w", where, err, errdefs.ErrInvalidArgument)
	case value != "":
		return value, true, nil
	case ref.Optional != nil && *ref.Optional:
		return "", false, nil
	}
	return "", false, fmt.Errorf("%s: it has no key %q, or an empty one: %w", where, ref.Key, errdefs.ErrNotFound)
}

// envValue finds a key among lines of KEY='value' (kubelet's
// util/env/env_util.go): values in single quotes, as they are and over several
// lines; blank lines and comments, also behind a value; no space before "=",
// and one behind it makes the value empty. What stands behind the key that is
// looked for is not judged.
func envValue(text []byte, key string) (string, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	number := 0
	next := func() bool {
		number++
		return lines.Scan()
	}
	for next() {
		line := strings.TrimLeft(lines.Text(), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		switch {
		case !found:
			return "", fmt.Errorf("line %d has no =", number)
		case name == "":
			return "", fmt.Errorf("line %d has no name before =", number)
		case strings.TrimRight(name, " \t") != name:
			return "", fmt.Errorf("line %d has a space before =", number)
		}
		if value != "" && strings.ContainsRune(" \t", rune(value[0])) {
			if name == key {
				return "", nil
			}
			continue
		}
		quoted, ok := strings.CutPrefix(value, "'")
		if !ok {
			return "", fmt.Errorf("line %d: the value is not in single quotes", number)
		}
		first := number
		var whole strings.Builder
		value, behind, closed := strings.Cut(quoted, "'")
		for whole.WriteString(value); !closed; whole.WriteString("\n" + value) {
			if !next() {
				return "", fmt.Errorf("line %d: the quote is not closed", first)
			}
			value, behind, closed = strings.Cut(lines.Text(), "'")
		}
		if behind = strings.TrimLeft(behind, " \t"); behind != "" && behind[0] != '#' {
			return "", fmt.Errorf("line %d: something follows the closing quote", number)
		}
		if name == key {
			return whole.String(), nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("line %d: %w", number, err)
	}
	return "", nil
}
