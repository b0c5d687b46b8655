package critest_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/cri/critest"
)

// TestInfoAsTheRuntimeWouldGive makes again, out of their recorded configs, the containers that kubelet had made on
// the containerd node, and compares what the server says of them with what containerd had said.
func TestInfoAsTheRuntimeWouldGive(t *testing.T) {
	s := critest.New(t)
	c := runtimeOf(t, s)
	all, err := c.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, recorded := range all.GetContainers() {
		pod, err := c.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: recorded.GetPodSandboxId(), Verbose: true})
		if err != nil {
			t.Fatal(err)
		}
		want, err := c.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: recorded.GetId(), Verbose: true})
		if err != nil {
			t.Fatal(err)
		}
		req := &runtimeapi.CreateContainerRequest{PodSandboxId: recorded.GetPodSandboxId()}
		configOf(t, pod.GetInfo(), &req.SandboxConfig)
		configOf(t, want.GetInfo(), &req.Config)
		req.Config.Metadata.Attempt += 100
		made, err := c.CreateContainer(t.Context(), req)
		if err != nil { // its target is the recorded one, so no container of the pod was removed
			t.Fatalf("%s in %s: %v", recorded.GetMetadata().GetName(), recorded.GetPodSandboxId(), err)
		}
		got, err := c.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: made.GetContainerId(), Verbose: true})
		if err != nil {
			t.Fatal(err)
		}
		g, w := essence(t, got), essence(t, want)
		if req.GetConfig().GetLinux().GetSecurityContext().GetPrivileged() {
			delete(w, "capabilities") // all that the node has, which is not modelled
		}
		compareSpecs(t, recorded.GetMetadata().GetName(), g, w)
		compared++
	}
	if compared < 20 {
		t.Errorf("%d containers compared", compared)
	}
}

func configOf(t *testing.T, info map[string]string, config any) {
	t.Helper()
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(info["info"]), &fields); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(fields["config"], config); err != nil {
		t.Fatal(err)
	}
}

// essence is the part of a status and its spec that follows from the request.
func essence(t *testing.T, resp *runtimeapi.ContainerStatusResponse) map[string]any {
	t.Helper()
	info := decode(t, []byte(resp.GetInfo()["info"]))
	spec := info["runtimeSpec"].(map[string]any)
	process := spec["process"].(map[string]any)
	st := plain(t, &runtimeapi.ContainerStatusResponse{Status: resp.GetStatus()}, true)["status"].(map[string]any)
	mounts := []string{}
	for _, m := range spec["mounts"].([]any) {
		mounts = append(mounts, m.(map[string]any)["destination"].(string))
	}
	slices.Sort(mounts)
	return map[string]any{
		"image": st["image"], "imageRef": st["imageRef"], "labels": st["labels"], "logPath": st["logPath"],
		"statusMounts": st["mounts"], "user": st["user"], "stopSignal": st["stopSignal"],
		"sandboxID": info["sandboxID"], "args": process["args"], "env": process["env"],
		"specUser": process["user"], "noNewPrivileges": process["noNewPrivileges"], "terminal": process["terminal"],
		"namespaces": spec["linux"].(map[string]any)["namespaces"], "annotations": spec["annotations"],
		"mounts": mounts, "capabilities": process["capabilities"], "root": spec["root"],
	}
}

func compareSpecs(t *testing.T, name string, got, want map[string]any) {
	t.Helper()
	var keys []string
	for k := range want {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !reflect.DeepEqual(got[k], want[k]) {
			t.Errorf("%s: %s\n got %s\nwant %s", name, k, indent(t, got[k]), indent(t, want[k]))
		}
	}
}
