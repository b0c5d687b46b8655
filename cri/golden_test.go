package cri

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
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

// notYet are the vectors that need more than the flags of porthole debug can
// say or the runtime tells.
var notYet = map[string]string{
	"plain-vol":      "volume mounts of the ephemeral container",
	"plain-custom":   "volume mounts of the ephemeral container",
	"plain-notarget": "facts of the pod's spec, where no container of it is at hand",
}

// TestGolden: for what a real kubelet was given, the request is what that
// kubelet sent, or is refused for kubelet's reason.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if notYet[name] != "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var g golden
			if err := json.Unmarshal(data, &g); err != nil {
				t.Fatal(err)
			}
			checkGolden(t, g)
		})
	}
}

func checkGolden(t *testing.T, g golden) {
	t.Helper()
	facts := g.facts()
	plan, err := runtime.NewPlan(facts, runtime.Request{Spec: g.EphemeralContainer})
	if g.KubeletError != nil {
		if err == nil {
			t.Fatalf("planned, but kubelet refused: %s", g.KubeletError.Message)
		}
		want := "is not running"
		if strings.Contains(g.KubeletError.Message, "runAsNonRoot") {
			want = g.KubeletError.Message
		}
		if want == "is not running" {
			want = "it is not running"
		}
		if !strings.Contains(err.Error(), want) {
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

// facts are what Porthole would have learnt on that node. What the vector
// cannot hold, and kubelet took from elsewhere, is taken from its own request:
// the image's ID, the huge page sizes, the random name of the termination log,
// and whether the pod had an address (and so a hosts file).
func (g golden) facts() *runtime.Facts {
	f := &runtime.Facts{
		Pod: runtime.Pod{
			ID: g.SandboxID, Name: g.SandboxConfig.GetMetadata().GetName(), Namespace: g.SandboxConfig.GetMetadata().GetNamespace(),
			UID: g.SandboxConfig.GetMetadata().GetUid(), State: runtime.Ready, Labels: g.SandboxConfig.GetLabels(),
		},
		Sandbox: sandboxOf(g.SandboxConfig),
		Native:  g.SandboxConfig,
		Image:   runtime.Image{Ref: g.EphemeralContainer.Image},
	}
	if k := g.KubeletConfig; k != nil {
		f.Image.ID = k.GetImage().GetImage()
		for _, h := range k.GetLinux().GetResources().GetHugepageLimits() {
			f.HugepageSizes = append(f.HugepageSizes, h.GetPageSize())
		}
		for _, m := range k.GetMounts() {
			switch {
			case m.GetContainerPath() == "/etc/hosts":
				f.Files.EtcHosts = m.GetHostPath()
			case strings.Contains(m.GetHostPath(), "/containers/"+g.EphemeralContainer.Name+"/"):
				f.Files.TerminationLog = m.GetHostPath()
			}
		}
	}
	if g.TargetConfig == nil {
		return f
	}
	target := runtime.Container{
		ID: g.TargetID, PodID: g.SandboxID, Name: g.TargetConfig.GetMetadata().GetName(), State: runtime.Running,
		Created: time.Now(), Labels: g.TargetConfig.GetLabels(), Annotations: g.TargetConfig.GetAnnotations(),
	}
	if g.KubeletError != nil && strings.Contains(g.KubeletError.Message, "EXITED") {
		target.State = runtime.Exited
	}
	f.Containers = []runtime.Container{target}
	described := &runtime.Target{Container: target}
	describeTarget(described, g.TargetConfig)
	// Facts of the pod are read from any of its containers; only a target that was
	// named is one.
	if g.EphemeralContainer.TargetContainerName != "" {
		f.Target = described
	} else {
		f.Neighbour = described
	}
	return f
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

// compareConfigs compares field by field. The exceptions are those of the
// vectors' README: our own labels, stdin_once, and the order of the service
// variables.
func compareConfigs(t *testing.T, got, want map[string]any) {
	t.Helper()
	for _, tree := range []map[string]any{got, want} {
		delete(tree, "stdin_once")
		sortEnv(tree)
		labels, _ := tree["labels"].(map[string]any)
		for key := range labels {
			if strings.HasPrefix(key, "porthole.dev/") {
				delete(labels, key)
			}
		}
	}
	diffTrees(t, "", got, want)
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
