package testenv

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestImagesByNameAndID(t *testing.T) {
	Each(t, func(t *testing.T, n *Node) {
		for _, name := range ImageNames() {
			byName, err := n.image(t.Context(), name)
			if err != nil {
				t.Error(err)
				continue
			}
			byID, err := n.image(t.Context(), byName.GetId())
			if err != nil || !slices.Contains(byID.GetRepoTags(), name) {
				t.Errorf("image %s by its ID %s: %v, %v", name, byName.GetId(), byID.GetRepoTags(), err)
			}
		}
	})
}

func TestPlainPod(t *testing.T) {
	Each(t, func(t *testing.T, n *Node) {
		p := runPod(t, n, PodSpec{
			Name:   "plain",
			Labels: map[string]string{"app": "plain"},
			Containers: []ContainerSpec{{
				Name:   "app",
				Env:    []Env{{"DB_HOST", "db.local"}},
				Mounts: []Mount{{Volume: "data", Path: "/data"}},
			}},
		})
		pid := p.Containers["app"].PID
		for _, ns := range []string{"mnt", "pid", "net", "ipc", "uts"} {
			if nsOf(t, pid, ns) == nsOf(t, os.Getpid(), ns) {
				t.Errorf("the app shares the host's %s namespace", ns)
			}
		}
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || !strings.Contains(string(environ), "DB_HOST=db.local\x00") {
			t.Errorf("environment %q, %v", environ, err)
		}
		cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil || !strings.Contains(string(cgroup), n.Cgroup()+"/pod"+p.UID+"/") {
			t.Errorf("cgroup %q, %v", cgroup, err)
		}
		if err := os.WriteFile(filepath.Join(p.VolumeDir("data"), "f"), []byte("x"), 0o600); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/data/f", pid)); err != nil {
			t.Errorf("the app does not see its volume: %v", err)
		}
		eventually(t, "first line in the log", func() bool {
			text, _ := os.ReadFile(filepath.Join(p.LogDir, "app", "0.log"))
			return strings.Contains(string(text), " stdout F app: started as uid 0")
		})
		if got := askApp(t, p); got != "hello\n" {
			t.Errorf("the app answers %q", got)
		}
	})
}

// askApp asks the app of the pod over HTTP from the host.
func askApp(t *testing.T, p *Pod) string {
	t.Helper()
	ip, err := p.IP(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var resp *http.Response
	eventually(t, "app answers at "+ip, func() bool {
		resp, err = client.Get("http://" + ip + ":8080/")
		return err == nil
	})
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestSandboxConfigIsKept checks that the runtime reports what kubelet's
// request held: Porthole mirrors it from there.
func TestSandboxConfigIsKept(t *testing.T) {
	Each(t, func(t *testing.T, n *Node) {
		p := runPod(t, n, PodSpec{Name: "kept", Namespace: "kube-system"})
		resp, err := n.Runtime().PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p.ID, Verbose: true})
		if err != nil {
			t.Fatal(err)
		}
		var info struct {
			Config struct {
				LogDirectory string `json:"log_directory"`
				Linux        struct {
					Security struct {
						Namespaces struct {
							Userns struct{ Mode int } `json:"userns_options"`
						} `json:"namespace_options"`
					} `json:"security_context"`
				}
			}
		}
		if err := json.Unmarshal([]byte(resp.GetInfo()["info"]), &info); err != nil {
			t.Fatal(err)
		}
		if info.Config.LogDirectory != p.LogDir || !strings.HasPrefix(p.LogDir, n.PodLogs()+"/kube-system_kept_") {
			t.Errorf("log directory %q, want %q", info.Config.LogDirectory, p.LogDir)
		}
		// 1.6 does not know the field and drops it.
		if got := info.Config.Linux.Security.Namespaces.Userns.Mode; n.Version() == V24 && got != int(runtimeapi.NamespaceMode_NODE) {
			t.Errorf("userns mode %d, want NODE", got)
		}
	})
}

func TestHostNamespaces(t *testing.T) {
	Each(t, func(t *testing.T, n *Node) {
		p := runPod(t, n, PodSpec{Name: "hostns", HostNetwork: true, HostPID: true, HostIPC: true})
		for _, ns := range []string{"pid", "net", "ipc"} {
			if got, want := nsOf(t, p.Containers["app"].PID, ns), nsOf(t, os.Getpid(), ns); got != want {
				t.Errorf("%s namespace %s, want the host's %s", ns, got, want)
			}
		}
	})
}

func TestSharedProcessNamespaceHasNoZombies(t *testing.T) {
	Each(t, func(t *testing.T, n *Node) {
		p := runPod(t, n, PodSpec{Name: "sharepid", ShareProcessNamespace: true, Containers: []ContainerSpec{
			{Name: "app"},
			{Name: "box", Image: ImageBusybox, Command: []string{"sh", "-c", "(sleep 0.1 &); exec sleep 1000"}},
		}})
		box := p.Containers["box"].PID
		if nsOf(t, p.Containers["app"].PID, "pid") != nsOf(t, box, "pid") {
			t.Error("the containers do not share a process namespace")
		}
		// Once the shell has become the long sleep, the short one is an orphan
		// and left to process 1, which is pause.
		eventually(t, "shell replaced", func() bool {
			comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", box))
			return err == nil && string(comm) == "sleep\n"
		})
		eventually(t, "orphan reaped", func() bool { return processesIn(t, nsOf(t, box, "pid")) == 3 })
	})
}

// processesIn counts the processes of a pid namespace, zombies included.
func processesIn(t *testing.T, pidns string) int {
	t.Helper()
	links, _ := filepath.Glob("/proc/[0-9]*/ns/pid")
	count := 0
	for _, l := range links {
		// The namespace of a zombie cannot be read any more; its parent's can.
		pid, _ := strconv.Atoi(strings.Split(l, "/")[2])
		if ns, err := os.Readlink(l); err == nil && ns == pidns {
			count++
		}
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		for child := range strings.FieldsSeq(string(children)) {
			if id, _ := strconv.Atoi(child); id != 0 && isZombie(id) {
				if ns, err := os.Readlink(l); err == nil && ns == pidns {
					count++
				}
			}
		}
	}
	return count
}

func TestUserNamespace(t *testing.T) {
	n := Shared(t, V24)
	p := runPod(t, n, PodSpec{Name: "userns", UserNS: true, Containers: []ContainerSpec{
		{Name: "app", Mounts: []Mount{{Volume: "data", Path: "/data"}}},
		{Name: "box", Image: ImageBusybox, Command: []string{"sh", "-c", "id -u >/data/x; exec sleep 1000"}, Mounts: []Mount{{Volume: "data", Path: "/data"}}},
	}})
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", p.Containers["app"].PID))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Fields(string(text)), []string{"0", strconv.Itoa(firstHostID), strconv.Itoa(idRange)}; !slices.Equal(got, want) {
		t.Errorf("uid map %v, want %v", got, want)
	}
	eventually(t, "file written through a mapped mount", func() bool {
		text, _ := os.ReadFile(filepath.Join(p.VolumeDir("data"), "x"))
		return string(text) == "0\n"
	})
}

func TestUserNamespaceIsRefusedBy16(t *testing.T) {
	n := Shared(t, V16)
	if _, err := n.RunPod(t.Context(), PodSpec{Name: "userns", UserNS: true}); !errdefs.IsNotImplemented(err) {
		t.Errorf("error %v, want not implemented", err)
	}
}

func TestImageUsers(t *testing.T) {
	user := int64(4321)
	Each(t, func(t *testing.T, n *Node) {
		for name, want := range map[string]struct {
			container ContainerSpec
			uid       string
		}{
			"numeric":  {ContainerSpec{Image: ImageNonroot}, "1000"},
			"named":    {ContainerSpec{Image: ImageNamedUser}, "1000"},
			"override": {ContainerSpec{Image: ImageNonroot, RunAsUser: &user}, "4321"},
		} {
			want.container.Name = "app"
			p := runPod(t, n, PodSpec{Name: name, Containers: []ContainerSpec{want.container}})
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Containers["app"].PID))
			if err != nil || !strings.Contains(string(status), "\nUid:\t"+want.uid+"\t") {
				t.Errorf("%s: user is not %s: %q, %v", name, want.uid, status, err)
			}
		}
	})
}

func TestPrivileged(t *testing.T) {
	Each(t, func(t *testing.T, n *Node) {
		p := runPod(t, n, PodSpec{Name: "privileged", Privileged: true})
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/dev/kmsg", p.Containers["app"].PID)); err != nil {
			t.Errorf("a privileged container sees the host's devices: %v", err)
		}
	})
}

func TestResidueReturnsToBaseline(t *testing.T) {
	Each(t, func(t *testing.T, n *Node) {
		before, err := n.Residue(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		specs := []PodSpec{{Name: "one"}, {Name: "two", HostNetwork: true}}
		if n.Version() == V24 {
			specs = append(specs, PodSpec{Name: "three", UserNS: true})
		}
		for _, spec := range specs {
			p, err := n.RunPod(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			now, err := n.Residue(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, kind := range []string{KindSandbox, KindCRI, KindContainer, KindSnapshot, KindShim, KindMount, KindCgroup, KindLog, KindTermination} {
				if now.Count(kind) <= before.Count(kind) {
					t.Errorf("%s: a running pod adds no %s", spec.Name, kind)
				}
			}
			if err := p.StopContainer(t.Context(), "app"); err != nil {
				t.Error(err)
			}
			if err := p.Remove(t.Context()); err != nil {
				t.Error(err)
			}
			if err := p.Remove(t.Context()); err != nil {
				t.Errorf("second Remove: %v", err)
			}
			if diff, err := n.Settles(t.Context(), before, 5*time.Second); diff != "" || err != nil {
				t.Errorf("%s: left behind: %v\n%s", spec.Name, err, diff)
			}
		}
	})
}

// TestRunPodUndoes checks that a pod that cannot start leaves nothing.
func TestRunPodUndoes(t *testing.T) {
	Each(t, func(t *testing.T, n *Node) {
		before, err := n.Residue(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.RunPod(t.Context(), PodSpec{Name: "broken", Containers: []ContainerSpec{{Name: "app"}, {Name: "no", Command: []string{"/none"}}}})
		if err == nil {
			t.Fatal("a container without its program started")
		}
		_, err = n.RunPod(t.Context(), PodSpec{Name: "noimage", Containers: []ContainerSpec{{Name: "app", Image: "localhost/none:1"}}})
		if !errdefs.IsNotFound(err) {
			t.Errorf("error %v, want not found", err)
		}
		if diff, err := n.Settles(context.WithoutCancel(t.Context()), before, 5*time.Second); diff != "" || err != nil {
			t.Errorf("left behind: %v\n%s", err, diff)
		}
	})
}
