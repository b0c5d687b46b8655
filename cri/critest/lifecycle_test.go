package critest_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/cri/critest"
)

// inspect returns a container's status, and of its verbose info the pid and the path of its pid namespace.
func inspect(t *testing.T, c runtimeapi.RuntimeServiceClient, id string) (st *runtimeapi.ContainerStatus, pid int, pidns string) {
	t.Helper()
	resp, err := c.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		Pid         int
		RuntimeSpec struct {
			Linux struct {
				Namespaces []struct{ Type, Path string }
			}
		}
	}
	if err := json.Unmarshal([]byte(resp.GetInfo()["info"]), &info); err != nil {
		t.Fatal(err)
	}
	for _, ns := range info.RuntimeSpec.Linux.Namespaces {
		if ns.Type == "pid" {
			pidns = ns.Path
		}
	}
	return resp.GetStatus(), info.Pid, pidns
}

func TestRefusalsThatNoRowHas(t *testing.T) {
	type answer struct {
		code codes.Code
		part string
	}
	accepted := answer{}
	for name, tc := range map[string]struct {
		change func(t *testing.T, s *critest.Server, req *runtimeapi.CreateContainerRequest)
		want   map[critest.Flavor]answer
	}{
		"log directory missing": {
			func(t *testing.T, s *critest.Server, req *runtimeapi.CreateContainerRequest) {
				req.SandboxConfig.LogDirectory = filepath.Join(s.LogRoot(), "nobody-made-me")
			},
			map[critest.Flavor]answer{critest.Containerd: accepted, critest.CRIO: {codes.Unknown, "exit status 1"}},
		},
		"target in another pod": {
			func(t *testing.T, s *critest.Server, req *runtimeapi.CreateContainerRequest) {
				req.Config.Linux.SecurityContext.NamespaceOptions.TargetId = elsewhere(t, s, req.GetPodSandboxId())
			},
			map[critest.Flavor]answer{critest.Containerd: {codes.Unknown, "does not belong to sandbox"}, critest.CRIO: accepted},
		},
		"sandbox unknown": {
			func(_ *testing.T, _ *critest.Server, req *runtimeapi.CreateContainerRequest) {
				req.PodSandboxId = strings.Repeat("0", 64)
			},
			map[critest.Flavor]answer{critest.Containerd: {codes.NotFound, "failed to find sandbox id"}, critest.CRIO: {codes.Unknown, "specified sandbox not found"}},
		},
		"sandbox stopped": {
			func(t *testing.T, s *critest.Server, req *runtimeapi.CreateContainerRequest) {
				if _, err := runtimeOf(t, s).StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: req.GetPodSandboxId()}); err != nil {
					t.Fatal(err)
				}
			},
			map[critest.Flavor]answer{critest.Containerd: {codes.Unknown, "is not running"}, critest.CRIO: {codes.Unknown, "sandbox was stopped"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			flavors(t, func(t *testing.T, s *critest.Server) {
				c, req := runtimeOf(t, s), good(t, s, "dbg")
				tc.change(t, s, req)
				resp, err := c.CreateContainer(t.Context(), req)
				wantCode(t, err, tc.want[s.Flavor()].code, tc.want[s.Flavor()].part)
				if err != nil {
					return
				}
				start(t, c, resp.GetContainerId())
				if _, err := os.Stat(filepath.Dir(s.Container(resp.GetContainerId()).LogPath())); err != nil {
					t.Errorf("started, and its log directory is not made: %v", err)
				}
			})
		})
	}
}

// elsewhere finds a running container that is not in the sandbox.
func elsewhere(t *testing.T, s *critest.Server, sandbox string) string {
	t.Helper()
	resp, err := runtimeOf(t, s).ListContainers(t.Context(), &runtimeapi.ListContainersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(resp.GetContainers(), func(c *runtimeapi.Container) bool {
		return c.GetPodSandboxId() != sandbox && c.GetState() == runtimeapi.ContainerState_CONTAINER_RUNNING
	})
	return resp.GetContainers()[i].GetId()
}

func TestExitCodesAndStates(t *testing.T) {
	flavors(t, func(t *testing.T, s *critest.Server) {
		c := runtimeOf(t, s)
		id := create(t, s, c, "dbg")
		if st, pid, _ := inspect(t, c, id); st.GetState() != runtimeapi.ContainerState_CONTAINER_CREATED || pid != 0 || st.GetStartedAt() != 0 {
			t.Errorf("created: %v, pid %d", st, pid)
		}
		start(t, c, id)
		_, running, _ := inspect(t, c, id)
		if err := syscall.Kill(running, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("pid %d without a hook: %v, want one that nobody has", running, err)
		}
		s.Container(id).Exit(3)
		st, pid, _ := inspect(t, c, id)
		if st.GetState() != runtimeapi.ContainerState_CONTAINER_EXITED || st.GetExitCode() != 3 || st.GetReason() != "Error" || st.GetFinishedAt() < st.GetStartedAt() {
			t.Errorf("exited: %v", st)
		}
		if want := map[critest.Flavor]int{critest.Containerd: 0, critest.CRIO: running}[s.Flavor()]; pid != want {
			t.Errorf("pid %d after the exit, want %d", pid, want)
		}
		<-s.Container(id).Done()
		_, err := c.StartContainer(t.Context(), &runtimeapi.StartContainerRequest{ContainerId: id})
		wantCode(t, err, codes.Unknown, map[critest.Flavor]string{critest.Containerd: "CONTAINER_EXITED state", critest.CRIO: "not in created state: stopped"}[s.Flavor()])
		again := create(t, s, c, "other")
		start(t, c, again)
		if _, err := c.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: again[:13]}); err != nil {
			t.Fatal(err)
		}
		if st, _, _ := inspect(t, c, again); st.GetExitCode() != 137 {
			t.Errorf("stopped: %v", st)
		}
	})
}

func TestPodEndsItsContainers(t *testing.T) {
	s := critest.New(t)
	c := runtimeOf(t, s)
	id := create(t, s, c, "dbg")
	start(t, c, id)
	pod := s.Created()[0].GetPodSandboxId()
	if _, err := c.RemovePodSandbox(t.Context(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	if s.Container(id) != nil {
		t.Error("the container outlived its pod")
	}
	_, err := c.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: pod})
	wantCode(t, err, codes.NotFound, "")
}

func TestProcessIsTheContainer(t *testing.T) {
	flavors(t, func(t *testing.T, s *critest.Server) {
		c := runtimeOf(t, s)
		s.OnStart(critest.Process("sleep", "600"))
		id := create(t, s, c, "dbg")
		start(t, c, id)
		_, pid, _ := inspect(t, c, id)
		if comm, err := os.ReadFile("/proc/" + itoa(pid) + "/comm"); err != nil || string(comm) != "sleep\n" {
			t.Fatalf("the process of the container is %q, %v", comm, err)
		}
		if _, err := c.RemoveContainer(t.Context(), &runtimeapi.RemoveContainerRequest{ContainerId: id}); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("after RemoveContainer the process still answers: %v", err)
		}
		s.OnStart(critest.Process("sh", "-c", "exit 7"))
		quick := create(t, s, c, "quick")
		start(t, c, quick)
		<-s.Container(quick).Done()
		if st, _, _ := inspect(t, c, quick); st.GetExitCode() != 7 || st.GetState() != runtimeapi.ContainerState_CONTAINER_EXITED || st.GetStartedAt() == 0 {
			t.Errorf("the quick command: %v", st)
		}
		s.OnStart(func(*critest.Container) (int, error) { return 0, errors.New("no more processes") })
		broken := create(t, s, c, "broken")
		_, err := c.StartContainer(t.Context(), &runtimeapi.StartContainerRequest{ContainerId: broken})
		wantCode(t, err, codes.Unknown, "no more processes")
		if st, _, _ := inspect(t, c, broken); st.GetReason() != "StartError" || st.GetExitCode() != 128 {
			t.Errorf("after the failed start: %v", st)
		}
	})
}

func TestTargetIgnored(t *testing.T) {
	for _, ignored := range []bool{false, true} {
		opts := []critest.Option{}
		if ignored {
			opts = append(opts, critest.WithTargetIgnored())
		}
		s := critest.New(t, opts...)
		c := runtimeOf(t, s)
		req := good(t, s, "dbg")
		target := s.Container(req.GetConfig().GetLinux().GetSecurityContext().GetNamespaceOptions().GetTargetId())
		target.SetPID(os.Getpid())
		if !ignored {
			s.OnStart(critest.Process("sleep", "600"))
		}
		resp, err := c.CreateContainer(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		start(t, c, resp.GetContainerId())
		_, pid, path := inspect(t, c, resp.GetContainerId())
		ours, err := os.Readlink("/proc/self/ns/pid")
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := os.Readlink("/proc/" + itoa(pid) + "/ns/pid")
		if err != nil {
			t.Fatal(err)
		}
		if (ours != theirs) != ignored {
			t.Errorf("ignored %v: target in %s, container in %s", ignored, ours, theirs)
		}
		if want := "/proc/" + itoa(os.Getpid()) + "/ns/pid"; (path == want) == ignored {
			t.Errorf("ignored %v: the spec joins %q", ignored, path)
		}
	}
}

func itoa(n int) string {
	raw, _ := json.Marshal(n)
	return string(raw)
}

func TestLogIsTheRuntimes(t *testing.T) {
	flavors(t, func(t *testing.T, s *critest.Server) {
		c := runtimeOf(t, s)
		id := create(t, s, c, "dbg")
		start(t, c, id)
		ctr := s.Container(id)
		say := func(stream, text string) {
			t.Helper()
			if err := ctr.Log(stream, text); err != nil {
				t.Fatal(err)
			}
		}
		say("stdout", "one\r\ntwo\n")
		say("stderr", "prompt$ ")
		if err := os.Rename(ctr.LogPath(), ctr.LogPath()+".1"); err != nil {
			t.Fatal(err)
		}
		say("stdout", "into the old file\n")
		if _, err := c.ReopenContainerLog(t.Context(), &runtimeapi.ReopenContainerLogRequest{ContainerId: id}); err != nil {
			t.Fatal(err)
		}
		say("stdout", strings.Repeat("x", 16<<10)+"y\n")
		cr := map[critest.Flavor]string{critest.CRIO: "\r"}[s.Flavor()]
		wantLog(t, ctr.LogPath()+".1", "stdout F one"+cr, "stdout F two", "stderr P prompt$ ", "stdout F into the old file")
		wantLog(t, ctr.LogPath(), "stdout P "+strings.Repeat("x", 16<<10), "stdout F y")
	})
}

func wantLog(t *testing.T, path string, want ...string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(raw)) {
		stamp, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil {
			t.Error(err)
		}
		got = append(got, rest)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s has\n%q\nwant\n%q", filepath.Base(path), got, want)
	}
}
