package cri

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/runtime"
)

// golden is one kubectl debug as a real kubelet carried it out.
type golden struct {
	SandboxID          string
	TargetID           string
	EphemeralContainer corev1.EphemeralContainer
	Pod                corev1.Pod
	SandboxConfig      *runtimeapi.PodSandboxConfig
	TargetConfig       *runtimeapi.ContainerConfig
	KubeletConfig      *runtimeapi.ContainerConfig
	KubeletError       *struct{ Message, Reason string }
}

// exceptions are all that may differ between the request and kubelet's, as the
// vectors' README names it.
var exceptions = map[string]string{
	"our labels":       "porthole.dev/… mark the session",
	"stdin_once":       "a pipe's end must reach the command",
	"envs, the order":  "kubelet's own is random",
	"termination file": "its name is random",
}

// given is what kubelet took from elsewhere and a vector cannot hold, read back
// from its own request: the image's ID, the node's huge page sizes, and what it
// knew of addresses and of the node's resources.
type given struct {
	imageID     string
	hugepages   []string
	status      corev1.PodStatus
	allocatable corev1.ResourceList
	user        runtime.Image // the image's own user
	objects     map[string]runtime.Object
	node        runtime.Node
}

// TestGolden: for what a real kubelet was given, the request is what that
// kubelet sent, or is refused for kubelet's reason.
func TestGolden(t *testing.T) {
	vectors := loadGolden(t)
	for name, g := range vectors {
		t.Run(name, func(t *testing.T) {
			facts := g.facts(g.given(vectors), g.siblings(vectors))
			checkGolden(t, g, facts)
		})
	}
	if len(exceptions) != 4 {
		t.Error("the list of exceptions is not the one that compareConfigs knows")
	}
}

func loadGolden(t *testing.T) map[string]golden {
	t.Helper()
	files, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d vectors: %v", len(files), err)
	}
	vectors := map[string]golden{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var g golden
		if err := json.Unmarshal(data, &g); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		vectors[strings.TrimSuffix(filepath.Base(file), ".json")] = g
	}
	return vectors
}

func checkGolden(t *testing.T, g golden, facts *runtime.Facts) {
	t.Helper()
	if g.KubeletError != nil && g.KubeletError.Reason == "ErrImageNeverPull" {
		c := dial(t, serve(t, "containerd-2.4.2"))
		_, err := c.Image(t.Context(), runtime.ImageOrder{Ref: g.EphemeralContainer.Image, Policy: g.EphemeralContainer.ImagePullPolicy})
		if err == nil || !strings.Contains(err.Error(), g.KubeletError.Message) {
			t.Errorf("refused with %v, kubelet with %q", err, g.KubeletError.Message)
		}
		return
	}
	plan, err := runtime.NewPlan(facts, runtime.Request{Spec: g.EphemeralContainer})
	if g.KubeletError != nil {
		if err == nil {
			t.Fatalf("planned, but kubelet refused: %s", g.KubeletError.Message)
		}
		// What the runtime said of it begins with its own steps.
		_, reason, _ := strings.Cut(g.KubeletError.Message, "invalid target container: ")
		if reason == "" {
			reason = g.KubeletError.Message
		}
		if !strings.Contains(err.Error(), reason) {
			t.Errorf("refused with %q, kubelet with %q", err, g.KubeletError.Message)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	request, err := new(Client).Request(plan)
	if err != nil {
		t.Fatal(err)
	}
	compareConfigs(t, asTree(t, request.GetConfig()), asTree(t, g.KubeletConfig))
	privileged := request.GetSandboxConfig().GetLinux().GetSecurityContext().GetPrivileged()
	if want := g.SandboxConfig.GetLinux().GetSecurityContext().GetPrivileged() || request.GetConfig().GetLinux().GetSecurityContext().GetPrivileged(); privileged != want {
		t.Errorf("sandbox config is privileged: %v, want %v", privileged, want)
	}
}

func (g golden) given(vectors map[string]golden) given {
	out := given{status: corev1.PodStatus{PodIP: "10.0.0.1"}, allocatable: corev1.ResourceList{}, objects: map[string]runtime.Object{}}
	out.learnNode(g.KubeletConfig)
	for _, other := range vectors {
		// The node's, of any vector; the pod's address, of one that shows it.
		for _, h := range other.KubeletConfig.GetLinux().GetResources().GetHugepageLimits() {
			if len(out.hugepages) < len(other.KubeletConfig.GetLinux().GetResources().GetHugepageLimits()) {
				out.hugepages = append(out.hugepages, h.GetPageSize())
			}
		}
	}
	out.imageID = "sha256:refused"
	if g.KubeletConfig != nil {
		out.imageID = g.KubeletConfig.GetImage().GetImage()
	}
	values := map[string]string{}
	for _, e := range g.KubeletConfig.GetEnvs() {
		values[e.GetKey()] = string(e.GetValue())
	}
	for _, e := range g.EphemeralContainer.Env {
		if e.ValueFrom != nil {
			out.learn(e.ValueFrom, values[e.Name])
		}
	}
	return out
}

// learnNode takes what kubelet read of its machine and of the image.
func (g *given) learnNode(sent *runtimeapi.ContainerConfig) {
	sc := sent.GetLinux().GetSecurityContext()
	for _, p := range sc.GetMaskedPaths() {
		if strings.HasPrefix(p, "/sys/devices/system/cpu/") {
			g.node.ThermalThrottle = append(g.node.ThermalThrottle, p)
		}
	}
	for _, m := range sent.GetMounts() {
		g.node.SELinux = g.node.SELinux || m.GetSelinuxRelabel()
	}
	unified := sent.GetLinux().GetResources().GetUnified()
	_, g.node.SwapController = unified["memory.swap.max"]
	g.node.CgroupV2, g.node.SharedCPUs = len(unified) > 0, sent.GetLinux().GetResources().GetCpusetCpus()
	// Used only where neither pod nor container names a user.
	g.user.Username = sc.GetRunAsUsername()
	if uid := sc.GetRunAsUser(); uid != nil && uid.GetValue() != 0 {
		g.user.UID = valueOf(uid)
	}
}

// learn takes a variable's value for what the variable refers to.
func (g *given) learn(from *corev1.EnvVarSource, value string) {
	if ref := from.FieldRef; ref != nil {
		switch ref.FieldPath {
		case "status.podIP":
			g.status.PodIP = value
		case "status.podIPs":
			for ip := range strings.SplitSeq(value, ",") {
				g.status.PodIPs = append(g.status.PodIPs, corev1.PodIP{IP: ip})
			}
		case "status.hostIP":
			g.status.HostIP = value
		case "status.hostIPs":
			for ip := range strings.SplitSeq(value, ",") {
				g.status.HostIPs = append(g.status.HostIPs, corev1.HostIP{IP: ip})
			}
		}
	}
	name, key := "", ""
	if ref := from.ConfigMapKeyRef; ref != nil {
		name, key = ref.Name, ref.Key
	}
	if ref := from.SecretKeyRef; ref != nil {
		name, key = ref.Name, ref.Key
	}
	if name != "" {
		object := g.objects[name]
		if object.Data == nil {
			object.Data = map[string]string{}
		}
		object.Data[key] = value
		g.objects[name] = object
	}
	if ref := from.ResourceFieldRef; ref != nil {
		amount, err := resource.ParseQuantity(value)
		kind, name, _ := strings.Cut(ref.Resource, ".")
		if err != nil || kind != "limits" {
			return
		}
		if unit := ref.Divisor; !unit.IsZero() {
			amount = *resource.NewMilliQuantity(amount.Value()*unit.MilliValue(), resource.DecimalSI)
		}
		g.allocatable[corev1.ResourceName(name)] = amount // used only where there is no limit
	}
}

// siblings are the containers of the same pod that other vectors show.
func (g golden) siblings(vectors map[string]golden) []golden {
	var out []golden
	for _, other := range vectors {
		if other.Pod.UID == g.Pod.UID && other.TargetConfig != nil {
			out = append(out, other)
		}
	}
	return out
}

// facts are what Porthole would have learnt on that node: the pod's spec from
// kubelet, the rest from the runtime and from kubelet's directory.
func (g golden) facts(known given, siblings []golden) *runtime.Facts {
	metadata := g.SandboxConfig.GetMetadata()
	f := &runtime.Facts{
		Pod: runtime.Pod{
			ID: g.SandboxID, Name: metadata.GetName(), Namespace: metadata.GetNamespace(), UID: metadata.GetUid(),
			State: runtime.Ready, Labels: g.SandboxConfig.GetLabels(), Annotations: g.SandboxConfig.GetAnnotations(),
		},
		Sandbox: sandboxOf(g.SandboxConfig),
		Spec:    &g.Pod,
		Native:  g.SandboxConfig,
		Image:   runtime.Image{Ref: g.EphemeralContainer.Image, ID: known.imageID, UID: known.user.UID, Username: known.user.Username},
		Node:    known.node,
	}
	f.Node.HugepageSizes, f.Node.Allocatable, f.Node.SeccompRoot = known.hugepages, known.allocatable, "/var/lib/kubelet/seccomp"
	f.Files.ConfigMaps, f.Files.Secrets = known.objects, known.objects
	f.Spec.Status = known.status
	f.Sandbox.UsersKnown = true
	dir := "/var/lib/kubelet/pods/" + metadata.GetUid()
	f.Files.EtcHosts = dir + "/etc-hosts"
	f.Files.TerminationLog = dir + "/containers/" + g.EphemeralContainer.Name + "/00000000"
	f.Files.Volumes = map[string]runtime.Volume{}
	for _, v := range g.Pod.Spec.Volumes {
		f.Files.Volumes[v.Name] = volumeOf(dir, v)
	}
	for _, other := range append([]golden{g}, siblings...) {
		if other.TargetConfig == nil {
			continue
		}
		described := other.target()
		switch {
		case other.TargetID == g.TargetID && g.EphemeralContainer.TargetContainerName != "":
			f.Target = described
		case f.Neighbour == nil:
			f.Neighbour = described
		}
		if len(f.Containers) == 0 {
			f.Containers = append(f.Containers, described.Container)
		}
	}
	return f
}

func (g golden) target() *runtime.Target {
	container := runtime.Container{
		ID: g.TargetID, PodID: g.SandboxID, Name: g.TargetConfig.GetMetadata().GetName(), State: runtime.Running,
		Created: time.Now(), Labels: g.TargetConfig.GetLabels(), Annotations: g.TargetConfig.GetAnnotations(),
	}
	if g.KubeletError != nil && strings.Contains(g.KubeletError.Message, "EXITED") {
		container.State = runtime.Exited
	}
	described := &runtime.Target{Container: container}
	describeTarget(described, g.TargetConfig)
	return described
}

// volumeOf is where kubelet puts a volume of the kinds that the vectors have.
func volumeOf(dir string, v corev1.Volume) runtime.Volume {
	switch {
	case v.HostPath != nil:
		return runtime.Volume{HostPath: v.HostPath.Path}
	case v.EmptyDir != nil:
		return runtime.Volume{HostPath: dir + "/volumes/kubernetes.io~empty-dir/" + v.Name, Relabel: true}
	case v.ConfigMap != nil:
		return runtime.Volume{HostPath: dir + "/volumes/kubernetes.io~configmap/" + v.Name, ReadOnly: true, Relabel: true}
	case v.Secret != nil:
		return runtime.Volume{HostPath: dir + "/volumes/kubernetes.io~secret/" + v.Name, ReadOnly: true, Relabel: true}
	case v.Projected != nil:
		return runtime.Volume{HostPath: dir + "/volumes/kubernetes.io~projected/" + v.Name, ReadOnly: true, Relabel: true}
	case v.DownwardAPI != nil:
		return runtime.Volume{HostPath: dir + "/volumes/kubernetes.io~downward-api/" + v.Name, ReadOnly: true, Relabel: true}
	}
	return runtime.Volume{Err: errors.New("a kind of volume that this test does not know")}
}

func asTree(t *testing.T, config *runtimeapi.ContainerConfig) map[string]any {
	t.Helper()
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

// compareConfigs compares field by field, but for the exceptions.
func compareConfigs(t *testing.T, got, want map[string]any) {
	t.Helper()
	for _, tree := range []map[string]any{got, want} {
		delete(tree, "stdin_once")
		sortEnv(tree)
		forgetFileName(tree)
		labels, _ := tree["labels"].(map[string]any)
		for key := range labels {
			if strings.HasPrefix(key, "porthole.dev/") {
				delete(labels, key)
			}
		}
	}
	diffTrees(t, "", got, want)
}

// forgetFileName drops the last element of the termination file's path.
func forgetFileName(tree map[string]any) {
	mounts, _ := tree["mounts"].([]any)
	for _, m := range mounts {
		mount := m.(map[string]any)
		if host, _ := mount["host_path"].(string); strings.Contains(host, "/containers/") {
			mount["host_path"] = filepath.Dir(host)
		}
	}
}

func sortEnv(tree map[string]any) {
	env, _ := tree["envs"].([]any)
	slices.SortFunc(env, func(a, b any) int {
		return strings.Compare(a.(map[string]any)["key"].(string), b.(map[string]any)["key"].(string))
	})
}

func diffTrees(t *testing.T, path string, got, want any) {
	t.Helper()
	g, gotMap := got.(map[string]any)
	w, wantMap := want.(map[string]any)
	if gotMap && wantMap {
		keys := map[string]bool{}
		for k := range g {
			keys[k] = true
		}
		for k := range w {
			keys[k] = true
		}
		for k := range keys {
			diffTrees(t, path+"."+k, g[k], w[k])
		}
		return
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("%s\n got %s\nwant %s", path, a, b)
	}
}
