package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/test/testenv"
)

// container is a debug container as the runtime and the kernel show it.
type container struct {
	*runtimeapi.ContainerStatus
	pid  int
	info struct {
		PID         int                         `json:"pid"`
		Config      *runtimeapi.ContainerConfig `json:"config"`
		RuntimeSpec runtimeSpec                 `json:"runtimeSpec"`
	}
}

// runtimeSpec is what is looked at of the OCI document.
type runtimeSpec struct {
	Linux struct {
		CgroupsPath   string   `json:"cgroupsPath"`
		MaskedPaths   []string `json:"maskedPaths"`
		ReadonlyPaths []string `json:"readonlyPaths"`
	} `json:"linux"`
}

// ours lists the containers that Porthole made on the node.
func (e *env) ours() []*runtimeapi.Container {
	e.Helper()
	list, err := e.node.Runtime().ListContainers(e.Context(), &runtimeapi.ListContainersRequest{})
	if err != nil {
		e.Fatal(err)
	}
	var found []*runtimeapi.Container
	for _, c := range list.GetContainers() {
		if c.GetLabels()[labelSession] != "" {
			found = append(found, c)
		}
	}
	return found
}

// opened returns the one debug container there is, with its process running.
func (e *env) opened() container {
	e.Helper()
	found := e.ours()
	if len(found) != 1 {
		e.Fatalf("%d debug containers on the node, want one", len(found))
	}
	return e.inspect(found[0].GetId())
}

// inspect asks the runtime for all that it tells of a container.
func (e *env) inspect(id string) container {
	e.Helper()
	answer, err := e.node.Runtime().ContainerStatus(e.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		e.Fatal(err)
	}
	c := container{ContainerStatus: answer.GetStatus()}
	if err := json.Unmarshal([]byte(answer.GetInfo()["info"]), &c.info); err != nil {
		e.Fatalf("info of container %s: %v", id, err)
	}
	c.pid = c.info.PID
	return c
}

// sandboxPID is the process of the pod's sandbox.
func (e *env) sandboxPID(p *testenv.Pod) int {
	e.Helper()
	answer, err := e.node.Runtime().PodSandboxStatus(e.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p.ID, Verbose: true})
	if err != nil {
		e.Fatal(err)
	}
	var info struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal([]byte(answer.GetInfo()["info"]), &info); err != nil {
		e.Fatal(err)
	}
	return info.PID
}

// namespaceOf is what identifies a process's namespace, read by the test itself.
func (e *env) namespaceOf(pid int, kind string) string {
	e.Helper()
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		e.Fatal(err)
	}
	return link
}

// proc reads a file of a process.
func (e *env) proc(pid int, name string) string {
	e.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), name))
	if err != nil {
		e.Fatal(err)
	}
	return string(text)
}

// statusOf is one line of /proc/PID/status.
func (e *env) statusOf(pid int, key string) string {
	e.Helper()
	for line := range strings.Lines(e.proc(pid, "status")) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	e.Fatalf("status of process %d has no %s", pid, key)
	return ""
}

// runs reports whether a program of this name runs in the pod.
func (e *env) runs(p *testenv.Pod, name string) bool {
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		e.Fatal(err)
	}
	for _, dir := range entries {
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil || strings.TrimSpace(string(comm)) != name {
			continue
		}
		if cgroup, err := os.ReadFile(filepath.Join(dir, "cgroup")); err == nil && strings.Contains(string(cgroup), "/pod"+p.UID+"/") {
			return true
		}
	}
	return false
}
