package podspec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

const etcd = `apiVersion: v1
kind: Pod
metadata:
  name: etcd
  namespace: kube-system
spec:
  hostNetwork: true
  containers:
  - name: etcd
    image: registry.k8s.io/etcd:3.6.4-0
    resources: {limits: {memory: 1Gi}, requests: {cpu: 100m}}
    env:
    - name: NODE
      valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
  volumes:
  - name: data
    hostPath: {path: /var/lib/etcd}
  - name: scratch
`

func manifest(name, namespace, container, image string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":%q},"spec":{"containers":[{"name":%q,"image":%q}]}}`,
		name, namespace, container, image)
}

func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

func TestStatic(t *testing.T) {
	image := "registry.k8s.io/etcd:3.6.4-0"
	running := Running{Namespace: "kube-system", Name: "etcd-node1", UID: uid, Containers: map[string]string{"etcd": image}}
	with := func(change func(*Running)) Running {
		r := running
		r.Containers = map[string]string{"etcd": image}
		change(&r)
		return r
	}
	clean := map[string]string{"etcd.yaml": etcd}
	for name, tc := range map[string]struct {
		files   map[string]string
		running Running
		class   error
		text    string
	}{
		"found":               {clean, running, nil, "etcd.yaml"},
		"node known":          {clean, with(func(r *Running) { r.NodeName = "NODE1" }), nil, "etcd.yaml"},
		"other node":          {clean, with(func(r *Running) { r.NodeName = "node2" }), errdefs.ErrNotFound, "1 others are of other pods"},
		"other namespace":     {clean, with(func(r *Running) { r.Namespace = "default" }), errdefs.ErrNotFound, "1 others are of other pods"},
		"other name":          {clean, with(func(r *Running) { r.Name = "etcdnode1" }), errdefs.ErrNotFound, "1 others are of other pods"},
		"image only by ID":    {clean, with(func(r *Running) { r.Containers["etcd"] = "sha256:" + strings.Repeat("0", 64) }), nil, "etcd.yaml"},
		"image not known":     {clean, with(func(r *Running) { r.Containers["etcd"] = "" }), nil, "etcd.yaml"},
		"changed since":       {clean, with(func(r *Running) { r.Containers["etcd"] = "registry.k8s.io/etcd:3.5" }), errdefs.ErrNotFound, `has image "registry.k8s.io/etcd:3.6.4-0", and the pod's has "registry.k8s.io/etcd:3.5"`},
		"another container":   {clean, with(func(r *Running) { r.Containers["sidecar"] = "" }), errdefs.ErrNotFound, `etcd.yaml: it has no container "sidecar", and the pod has`},
		"from the API server": {clean, with(func(r *Running) { r.UID = "5f1c2d7e-9a41-4a53-8c36-0123456789ab" }), errdefs.ErrNotFound, "is from an API server"},
		"uid of its own":      {map[string]string{"a": strings.Replace(etcd, "name: etcd", "name: etcd\n  uid: mine", 1)}, with(func(r *Running) { r.UID = "mine" }), nil, "a"},
		"another uid":         {map[string]string{"a": strings.Replace(etcd, "name: etcd", "name: etcd\n  uid: mine", 1)}, running, errdefs.ErrNotFound, "a: its uid is mine"},
		"uid not known":       {clean, with(func(r *Running) { r.UID = "" }), nil, "etcd.yaml"},
		"several, one fits":   {map[string]string{"a.json": manifest("etcd", "kube-system", "other", image), "b": etcd}, running, nil, "b"},
		"several fit":         {map[string]string{"a": etcd, "b": etcd}, running, errdefs.ErrConflict, "several manifests"},
		"prefix of another":   {map[string]string{"a": manifest("etcd-backup", "kube-system", "backup", image), "b": etcd}, running, nil, "b"},
		"default namespace": {map[string]string{"a": manifest("web", "", "web", "nginx")},
			Running{Namespace: "default", Name: "web-n", Containers: map[string]string{"web": "docker.io/library/nginx:latest"}}, nil, "a"},
		"dot file":        {map[string]string{".etcd.yaml.swp": etcd}, running, errdefs.ErrNotFound, "0 others"},
		"malformed":       {map[string]string{"a": "kind: [", "b": "kind: List\n", "c": ""}, running, errdefs.ErrNotFound, `a: not a manifest`},
		"not a pod":       {map[string]string{"b": "apiVersion: v1\nkind: List\n"}, running, errdefs.ErrNotFound, `b: not a v1 Pod but "v1" "List"`},
		"too large":       {map[string]string{"b": strings.Repeat("#", manifestLimit+1)}, running, errdefs.ErrNotFound, `more than`},
		"nothing to know": {clean, Running{Namespace: "a", Name: "b"}, errdefs.ErrInvalidArgument, "not all are given"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, tc.files)
			pod, file, err := Static(dir, tc.running)
			if tc.class != nil {
				if !errors.Is(err, tc.class) || !strings.Contains(err.Error(), tc.text) {
					t.Errorf("got %v, want %v with %q", err, tc.class, tc.text)
				}
				return
			}
			if err != nil || filepath.Base(file) != tc.text || pod.Name != tc.running.Name || string(pod.UID) != tc.running.UID {
				t.Errorf("got %v, %s, %v", pod, file, err)
			}
		})
	}
}

// TestStaticPaths: a single file, none, a directory in the way, a FIFO.
func TestStaticPaths(t *testing.T) {
	dir := write(t, map[string]string{"etcd.yaml": etcd})
	running := Running{Namespace: "kube-system", Name: "etcd-n", Containers: map[string]string{"etcd": ""}}
	file := filepath.Join(dir, "etcd.yaml")
	if _, got, err := Static(file, running); err != nil || got != file {
		t.Errorf("single file: %s, %v", got, err)
	}
	if _, _, err := Static(filepath.Join(dir, "none"), running); !errdefs.IsNotFound(err) {
		t.Errorf("none: %v", err)
	}
	must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Symlink("../x", filepath.Join(dir, "broken")))
	if _, got, err := Static(dir, running); err != nil || got != file {
		t.Errorf("with a directory and a FIFO: %s, %v", got, err)
	}
}

func TestComplete(t *testing.T) {
	dir := write(t, map[string]string{"etcd.yaml": etcd})
	pod, _, err := Static(dir, Running{Namespace: "kube-system", Name: "etcd-node1", UID: uid, Containers: map[string]string{"etcd": ""}})
	must(t, err)
	spec, c := pod.Spec, pod.Spec.Containers[0]
	for what, ok := range map[string]bool{
		"config.source":          pod.Annotations[configSource] == "file" && pod.Annotations[configHash] == uid,
		"nodeName":               spec.NodeName == "node1",
		"enableServiceLinks":     *spec.EnableServiceLinks,
		"grace period":           *spec.TerminationGracePeriodSeconds == 30,
		"restartPolicy":          spec.RestartPolicy == corev1.RestartPolicyAlways,
		"dnsPolicy":              spec.DNSPolicy == corev1.DNSClusterFirst,
		"securityContext":        spec.SecurityContext != nil,
		"terminationMessagePath": c.TerminationMessagePath == "/dev/termination-log" && c.TerminationMessagePolicy == "File",
		"imagePullPolicy":        c.ImagePullPolicy == corev1.PullIfNotPresent,
		"fieldRef":               c.Env[0].ValueFrom.FieldRef.APIVersion == "v1",
		"request from limit":     c.Resources.Requests.Memory().String() == "1Gi" && c.Resources.Requests.Cpu().String() == "100m",
		"hostPath type":          *spec.Volumes[0].HostPath.Type == corev1.HostPathUnset,
		"emptyDir":               spec.Volumes[1].EmptyDir != nil,
	} {
		if !ok {
			t.Errorf("%s is wrong: %+v", what, pod)
		}
	}
}

func TestReference(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0", 64)
	for in, want := range map[string]string{
		"busybox":                     "docker.io/library/busybox:latest",
		"busybox:1":                   "docker.io/library/busybox:1",
		"a/b":                         "docker.io/a/b:latest",
		"docker.io/a":                 "docker.io/library/a:latest",
		"index.docker.io/a/b:1":       "docker.io/a/b:1",
		"localhost/a":                 "localhost/a:latest",
		"localhost:5000/a":            "localhost:5000/a:latest",
		"quay.io/a/b" + digest:        "quay.io/a/b" + digest,
		"quay.io/a/b:latest" + digest: "quay.io/a/b:latest" + digest,
	} {
		if got := reference(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
		always := strings.HasSuffix(strings.TrimSuffix(want, digest), ":latest")
		if got := pullPolicy(in); (got == corev1.PullAlways) != always {
			t.Errorf("%s: %s", in, got)
		}
	}
}
