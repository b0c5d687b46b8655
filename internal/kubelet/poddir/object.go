package poddir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

// objectLimit is the API's for the data of a configMap or a secret
// (core/v1.MaxSecretSize, validation.go:ValidateConfigMap).
const objectLimit = 1 << 20

// dataLink is kubelet's link to the present version of a volume's files
// (volume/util/atomic_writer.go).
const dataLink = "..data"

// An object is a configMap or a secret, by the name of its kind in a spec.
type object struct{ kind, name string }

func (o object) String() string { return fmt.Sprintf("%s %q", o.kind, o.name) }

// errUnsure is for a volume that cannot tell what is in its object.
var errUnsure = errors.New("the volume does not tell")

// ConfigMapKey returns the value of a key of a configMap, for an environment
// variable, if a volume of the pod holds it: the node keeps configMaps nowhere
// else. It is what kubelet would take from the API server, but for the minute
// or so that volumes lag behind.
//
// ok is false if the reference is optional and the volume shows that there is
// no such key. Errors are [errdefs.ErrNotFound] if there is none and it is not
// optional, or if no volume can tell.
func (d Dir) ConfigMapKey(spec *corev1.PodSpec, ref *corev1.ConfigMapKeySelector) (value string, ok bool, err error) {
	return d.key(spec, object{"configMap", ref.Name}, ref.Key, ref.Optional)
}

// SecretKey is [Dir.ConfigMapKey] for a secret.
func (d Dir) SecretKey(spec *corev1.PodSpec, ref *corev1.SecretKeySelector) (value string, ok bool, err error) {
	return d.key(spec, object{"secret", ref.Name}, ref.Key, ref.Optional)
}

// ConfigMap returns all data of a configMap if a volume of the pod holds all of
// it: one that picks items shows only a part, and one that mixes it with other
// sources does not tell which files are its own. Errors are
// [errdefs.ErrNotFound] if no volume can tell, which an optional reference must
// not take for an answer: the configMap may well exist.
func (d Dir) ConfigMap(spec *corev1.PodSpec, name string) (map[string]string, error) {
	return d.whole(spec, object{"configMap", name})
}

// Secret is [Dir.ConfigMap] for a secret.
func (d Dir) Secret(spec *corev1.PodSpec, name string) (map[string]string, error) {
	return d.whole(spec, object{"secret", name})
}

func (d Dir) key(spec *corev1.PodSpec, o object, key string, optional *bool) (string, bool, error) {
	var why []string
	for _, h := range holders(spec, o) {
		text, err := d.keyIn(h, o, key)
		switch {
		case err == nil:
			return text, true, nil
		case errors.Is(err, errUnsure):
			why = append(why, err.Error())
		case errdefs.IsNotFound(err) && optional != nil && *optional:
			return "", false, nil
		default:
			return "", false, fmt.Errorf("%s, key %q: %w", o, key, err)
		}
	}
	return "", false, o.unheld(fmt.Sprintf(", key %q", key), why)
}

// unheld says that nothing of the object is on the node, and what to do.
func (o object) unheld(what string, why []string) error {
	held := ""
	if len(why) > 0 {
		held = " (" + strings.Join(why, "; ") + ")"
	}
	return fmt.Errorf("%s%s: no volume of this pod holds it%s, and the node keeps it nowhere else; ask the API server for it, "+
		"give the value itself, or mount it in the pod: %w", o, what, held, errdefs.ErrNotFound)
}

// keyIn returns a key's value, ErrNotFound if the volume shows that there is
// none, and errUnsure if it does not show.
func (d Dir) keyIn(h holder, o object, key string) (string, error) {
	path, ok := h.pathOf(key)
	if !ok {
		return "", fmt.Errorf("volume %q has only other keys of it: %w", h.volume, errUnsure)
	}
	if h.mixed(path) {
		return "", fmt.Errorf("volume %q may have another source's file at %s: %w", h.volume, path, errUnsure)
	}
	if !filepath.IsLocal(path) {
		return "", fmt.Errorf("path %q leaves volume %q: %w", path, h.volume, errdefs.ErrInvalidArgument)
	}
	data, _, err := d.data(h)
	if err != nil {
		return "", err
	}
	defer data.Close()
	text, err := read(data, path, objectLimit)
	if errdefs.IsNotFound(err) {
		return "", fmt.Errorf("it has no such key, by volume %q: %w", h.volume, errdefs.ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("volume %q: %w", h.volume, err)
	}
	if !o.isText(text) {
		return "", fmt.Errorf("volume %q has it as binaryData, which no variable can be: %w", h.volume, errdefs.ErrNotFound)
	}
	return string(text), nil
}

// isText: a configMap's variables are from its data, which is UTF-8, and never
// from its binaryData, which lies in the volume beside it
// (kubelet_pods.go:makeEnvironmentVariables, configmap.go:MakePayload).
func (o object) isText(text []byte) bool { return o.kind != "configMap" || utf8.Valid(text) }

// data opens the present version of a volume's files. All that is read from it
// is of one time, even if kubelet writes another version meanwhile.
func (d Dir) data(h holder) (*os.Root, string, error) {
	root, err := d.open()
	if err != nil {
		return nil, "", err
	}
	defer root.Close()
	path, err := d.prepared(root, elements(h.plugin, h.volume)...)
	if err != nil {
		return nil, "", fmt.Errorf("kubelet has not prepared volume %q: %w: %w", h.volume, err, errUnsure)
	}
	volume, err := root.OpenRoot(filepath.Join("volumes", h.plugin, h.volume))
	if err != nil {
		return nil, "", fmt.Errorf("volume %q: %w", h.volume, classed(err))
	}
	defer volume.Close()
	version, err := volume.Readlink(dataLink)
	if err != nil || element("version", version) != nil {
		return nil, "", fmt.Errorf("volume %q has no %s of kubelet's in it: %w", h.volume, dataLink, errUnsure)
	}
	data, err := volume.OpenRoot(version)
	if err != nil {
		return nil, "", fmt.Errorf("volume %q: %w", h.volume, classed(err))
	}
	return data, filepath.Join(path, version), nil
}

func (d Dir) whole(spec *corev1.PodSpec, o object) (map[string]string, error) {
	var why []string
	for _, h := range holders(spec, o) {
		var all map[string]string
		err := h.hasAll()
		if err == nil {
			all, err = d.allIn(h, o)
		}
		switch {
		case err == nil:
			return all, nil
		case !errors.Is(err, errUnsure):
			return nil, fmt.Errorf("%s: %w", o, err)
		}
		why = append(why, err.Error())
	}
	return nil, o.unheld(", all of it", why)
}

func (d Dir) allIn(h holder, o object) (map[string]string, error) {
	data, path, err := d.data(h)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	entries, err := list(data, ".")
	if err != nil {
		return nil, fmt.Errorf("volume %q: %w", h.volume, err)
	}
	all, left := make(map[string]string), objectLimit
	for _, entry := range entries {
		text, err := read(data, entry.Name(), left)
		if err != nil {
			return nil, fmt.Errorf("volume %q at %s: %w", h.volume, path, err)
		}
		left -= len(text)
		if o.isText(text) {
			all[entry.Name()] = string(text)
		}
	}
	return all, nil
}

// A holder is a volume, or a source in a projected one, with keys of an object.
type holder struct {
	plugin, volume string
	items          []corev1.KeyToPath
	// others are the further sources of a projected volume.
	others []corev1.VolumeProjection
}

// holders finds the volumes that an object is mounted by.
func holders(spec *corev1.PodSpec, o object) []holder {
	if spec == nil || o.name == "" {
		return nil
	}
	var all []holder
	for _, v := range spec.Volumes {
		switch {
		case v.ConfigMap != nil && o == object{"configMap", v.ConfigMap.Name}:
			all = append(all, holder{configMap, v.Name, v.ConfigMap.Items, nil})
		case v.Secret != nil && o == object{"secret", v.Secret.SecretName}:
			all = append(all, holder{secret, v.Name, v.Secret.Items, nil})
		case v.Projected != nil:
			for i, s := range v.Projected.Sources {
				others := slices.Concat(v.Projected.Sources[:i], v.Projected.Sources[i+1:])
				switch {
				case s.ConfigMap != nil && o == object{"configMap", s.ConfigMap.Name}:
					all = append(all, holder{projected, v.Name, s.ConfigMap.Items, others})
				case s.Secret != nil && o == object{"secret", s.Secret.Name}:
					all = append(all, holder{projected, v.Name, s.Secret.Items, others})
				}
			}
		}
	}
	return slices.DeleteFunc(all, func(h holder) bool { return element("volume", h.volume) != nil })
}

// pathOf returns where a key lies in the volume (configmap.go:MakePayload): at
// its own name, or where the items say.
func (h holder) pathOf(key string) (string, bool) {
	if len(h.items) == 0 {
		return key, element("key", key) == nil
	}
	for _, item := range h.items {
		if item.Key == key {
			return item.Path, true
		}
	}
	return "", false
}

// hasAll is errUnsure for a volume that has a part of its object, or more.
func (h holder) hasAll() error {
	switch {
	case len(h.items) > 0:
		return fmt.Errorf("volume %q has only the keys that its items name: %w", h.volume, errUnsure)
	case len(h.others) > 0:
		return fmt.Errorf("volume %q has files of other sources, too: %w", h.volume, errUnsure)
	}
	return nil
}

// mixed reports whether another source of a projected volume may have written
// this path: the last one does (projected.go:collectData).
func (h holder) mixed(path string) bool {
	return slices.ContainsFunc(h.others, func(s corev1.VolumeProjection) bool {
		paths, all := projects(s)
		return all || slices.Contains(paths, filepath.Clean(path))
	})
}

// projects lists the paths that a source writes; all is set if it may be any.
func projects(s corev1.VolumeProjection) (paths []string, all bool) {
	var items []corev1.KeyToPath
	switch {
	case s.ConfigMap != nil:
		items = s.ConfigMap.Items
	case s.Secret != nil:
		items = s.Secret.Items
	case s.DownwardAPI != nil:
		for _, item := range s.DownwardAPI.Items {
			paths = append(paths, filepath.Clean(item.Path))
		}
		return paths, false
	case s.ServiceAccountToken != nil:
		return []string{filepath.Clean(s.ServiceAccountToken.Path)}, false
	case s.ClusterTrustBundle != nil:
		return []string{filepath.Clean(s.ClusterTrustBundle.Path)}, false
	case s.PodCertificate != nil:
		c := s.PodCertificate
		return []string{filepath.Clean(c.CredentialBundlePath), filepath.Clean(c.KeyPath), filepath.Clean(c.CertificateChainPath)}, false
	}
	for _, item := range items {
		paths = append(paths, filepath.Clean(item.Path))
	}
	return paths, len(items) == 0
}
