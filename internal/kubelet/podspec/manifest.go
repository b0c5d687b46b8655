package podspec

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// manifestLimit is kubelet's own (config/common.go:maxConfigLength).
const manifestLimit = 10 << 20

// Running is what the runtime shows of a pod, by which its manifest is known.
type Running struct {
	Namespace, Name, UID string
	// NodeName is kubelet's name for the node, empty if it is not known.
	NodeName string
	// Containers are the pod's own, those for its initialization too, each
	// with the image that it was asked for, or empty where only an ID is known.
	Containers map[string]string
}

// String returns NAMESPACE/NAME.
func (r Running) String() string { return r.Namespace + "/" + r.Name }

// Static finds the manifest of a static pod below kubelet's static pod path, a
// directory or a single file, and returns the pod that kubelet makes of it
// (config/file.go, config/common.go) and the file. The pod has the name, UID
// and node of the one that runs, and the API's defaults.
//
// A manifest says what kubelet was told last, not what it runs. It is believed
// only if its pod would have this name and every container that runs is in it
// under this name, with this image; and only if no other manifest fits, too.
//
// Errors are [errdefs.ErrNotFound] if no manifest is the pod's,
// [errdefs.ErrConflict] if several could be, and [errdefs.ErrInvalidArgument]
// if there is too little to know it by.
func Static(manifests string, r Running) (*corev1.Pod, string, error) {
	if r.Name == "" || r.Namespace == "" || len(r.Containers) == 0 {
		return nil, "", fmt.Errorf("static pod %q: a manifest is known by the pod's name, namespace and containers, and not all are given: %w",
			r, errdefs.ErrInvalidArgument)
	}
	files, err := manifestFiles(manifests)
	if err != nil {
		return nil, "", err
	}
	var found []*corev1.Pod
	var where, why []string
	for _, file := range files {
		pod, err := readManifest(file)
		if err == nil {
			err = r.fits(pod)
		}
		if errors.Is(err, errOther) {
			continue
		}
		if err != nil {
			why = append(why, filepath.Base(file)+": "+err.Error())
			continue
		}
		found, where = append(found, pod), append(where, file)
	}
	switch len(found) {
	case 0:
		why = append(why, fmt.Sprintf("%d others are of other pods", len(files)-len(why)))
		return nil, "", fmt.Errorf("pod %q: no manifest in %s is its own (%s): %w", r, manifests, strings.Join(why, "; "), errdefs.ErrNotFound)
	case 1:
		complete(found[0], r)
		return found[0], where[0], nil
	}
	return nil, "", fmt.Errorf("pod %q: several manifests could be its own, none is believed: %s: %w", r, strings.Join(where, ", "), errdefs.ErrConflict)
}

// errOther is for a manifest that is plainly another pod's.
var errOther = errors.New("of another pod")

// manifestFiles lists what kubelet would read: everything in the directory
// that does not begin with a dot, and nothing below it (config/file.go).
func manifestFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("static pod path %s does not exist: %w", path, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("static pod path: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("static pod path: %w", err)
	}
	var files []string
	for _, entry := range entries {
		if !entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			files = append(files, filepath.Join(path, entry.Name()))
		}
	}
	return files, nil
}

func readManifest(path string) (*corev1.Pod, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(f, manifestLimit+1))
	if err != nil {
		return nil, err
	}
	if len(text) > manifestLimit {
		return nil, fmt.Errorf("more than %d bytes", manifestLimit)
	}
	pod := &corev1.Pod{}
	if err := yaml.Unmarshal(text, pod); err != nil {
		return nil, fmt.Errorf("not a manifest: %w", err)
	}
	if pod.APIVersion != "v1" || pod.Kind != "Pod" {
		return nil, fmt.Errorf("not a v1 Pod but %q %q", pod.APIVersion, pod.Kind)
	}
	return pod, nil
}

// fits says why a manifest is not the running pod's, or nil.
func (r Running) fits(pod *corev1.Pod) error {
	if err := r.named(pod); err != nil {
		return err
	}
	images := make(map[string]string)
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		images[c.Name] = c.Image
	}
	for _, name := range slices.Sorted(maps.Keys(r.Containers)) {
		image, ok := images[name]
		if !ok {
			return fmt.Errorf("it has no container %q, and the pod has", name)
		}
		if running := r.Containers[name]; !isID(running) && reference(running) != reference(image) {
			return fmt.Errorf("its container %q has image %q, and the pod's has %q", name, image, running)
		}
	}
	return nil
}

// named compares names: a static pod is called MANIFEST-NODE, the node in lower
// case, and its UID is a hash of the manifest unless that has one
// (config/common.go:generatePodName, applyDefaults). Where the node's name is
// not known, any will do.
func (r Running) named(pod *corev1.Pod) error {
	node, ok := strings.CutPrefix(r.Name, pod.Name+"-")
	switch {
	case namespaceOf(pod) != r.Namespace || pod.Name == "" || !ok || node == "":
		return errOther
	case r.NodeName != "" && node != strings.ToLower(r.NodeName):
		return errOther
	}
	switch {
	case r.UID == "":
		return nil
	case pod.UID != "" && string(pod.UID) != r.UID:
		return fmt.Errorf("its uid is %s, and the pod's is %s", pod.UID, r.UID)
	case pod.UID == "" && !isHash(r.UID, 32):
		return fmt.Errorf("kubelet would make its uid by hashing it, and the pod's, %s, is from an API server", r.UID)
	}
	return nil
}

func namespaceOf(pod *corev1.Pod) string {
	if pod.Namespace == "" {
		return corev1.NamespaceDefault
	}
	return pod.Namespace
}

// isID tells the name of an image from its ID, of which nothing follows.
func isID(image string) bool {
	return image == "" || strings.HasPrefix(image, "sha256:") || isHash(image, 64)
}

func isHash(s string, digits int) bool {
	return len(s) == digits && strings.Trim(s, "0123456789abcdef") == ""
}

// reference writes an image's name in full, as the runtime may
// (github.com/distribution/reference, ParseDockerRef).
func reference(image string) string {
	host, rest, found := strings.Cut(image, "/")
	if !found || !strings.ContainsAny(host, ".:") && host != "localhost" {
		host, rest = "docker.io", image
	}
	if host == "index.docker.io" {
		host = "docker.io"
	}
	if host == "docker.io" && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	if !strings.ContainsAny(rest[strings.LastIndex(rest, "/")+1:], ":@") {
		rest += ":latest"
	}
	return host + "/" + rest
}
