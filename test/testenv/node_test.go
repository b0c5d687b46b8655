package testenv

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestStopLeavesNothing stops nodes in every state they can be in.
func TestStopLeavesNothing(t *testing.T) {
	states := map[string]func(*testing.T, *Node){
		"running": func(*testing.T, *Node) {},
		"killed":  func(_ *testing.T, n *Node) { n.Kill() },
		"paused": func(t *testing.T, n *Node) {
			if err := n.Pause(); err != nil {
				t.Error(err)
			}
		},
	}
	for _, v := range Versions() {
		for name, do := range states {
			t.Run(string(v)+"/"+name, func(t *testing.T) {
				Need(t, Root, v.Requirement())
				n, err := Start(t.Context(), Options{Version: v})
				if err != nil {
					t.Fatal(err)
				}
				pods := []*Pod{runPodOf(t, n, PodSpec{Name: "plain"}), runPodOf(t, n, PodSpec{Name: "hostns", HostPID: true, HostNetwork: true})}
				if len(traces(t, n.record)) < 5 {
					t.Errorf("a running node leaves traces: found only %v", traces(t, n.record))
				}
				sockets := shimSockets(t, n.version, n.record)
				do(t, n)
				if err := n.Stop(); err != nil {
					t.Fatal(err)
				}
				if err := n.Stop(); err != nil {
					t.Errorf("second Stop: %v", err)
				}
				if left := traces(t, n.record); len(left) > 0 {
					t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
				}
				for _, p := range pods {
					if alive(p.Containers["app"].PID) {
						t.Errorf("process %d of pod %s lives", p.Containers["app"].PID, p.Name)
					}
				}
				goneSockets(t, sockets)
			})
		}
	}
}

// runPodOf runs a pod that goes with its node.
func runPodOf(t *testing.T, n *Node, spec PodSpec) *Pod {
	t.Helper()
	p, err := n.RunPod(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRestartKeepsPods(t *testing.T) {
	for _, v := range Versions() {
		t.Run(string(v), func(t *testing.T) {
			n := start(t, v)
			p := runPod(t, n, PodSpec{Name: "survivor"})
			app := p.Containers["app"]
			for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
				old := n.PID()
				if err := n.Restart(t.Context(), sig); err != nil {
					t.Fatal(err)
				}
				if n.PID() == old || alive(old) {
					t.Errorf("after %s containerd is still process %d", sig, old)
				}
				pid, err := n.ContainerPID(t.Context(), app.ID)
				if err != nil || pid != app.PID || !alive(pid) {
					t.Errorf("after %s the app is process %d, was %d: %v", sig, pid, app.PID, err)
				}
			}
			runPod(t, n, PodSpec{Name: "new"})
		})
	}
}

func TestPauseAndResume(t *testing.T) {
	for _, v := range Versions() {
		t.Run(string(v), func(t *testing.T) {
			n := start(t, v)
			if err := n.Pause(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if _, err := n.Runtime().Version(ctx, &runtimeapi.VersionRequest{}); err == nil {
				t.Error("a paused containerd answers")
			}
			if err := n.Resume(); err != nil {
				t.Fatal(err)
			}
			resp, err := n.Runtime().Version(t.Context(), &runtimeapi.VersionRequest{})
			if err != nil || !strings.HasPrefix(strings.TrimPrefix(resp.GetRuntimeVersion(), "v"), string(v)) {
				t.Errorf("version %q, %v, want %s", resp.GetRuntimeVersion(), err, v)
			}
			n.Kill()
			if err := n.Pause(); !errdefs.IsFailedPrecondition(err) {
				t.Errorf("pause of a dead containerd: %v", err)
			}
			if err := n.Restart(t.Context(), syscall.SIGTERM); err != nil {
				t.Errorf("restart of a dead containerd: %v", err)
			}
		})
	}
}

func TestNodesSideBySide(t *testing.T) {
	for _, v := range Versions() {
		t.Run(string(v), func(t *testing.T) {
			a, b := start(t, v), start(t, v)
			if err := Sweep(t.Context()); err != nil {
				t.Error(err)
			}
			pods := []*Pod{runPodOf(t, a, PodSpec{Name: "same"}), runPod(t, b, PodSpec{Name: "same"})}
			for _, p := range pods {
				if got := askApp(t, p); got != "hello\n" {
					t.Errorf("pod on %s answers %q", p.node.Dir(), got)
				}
			}
			if err := a.Stop(); err != nil {
				t.Error(err)
			}
			if !alive(pods[1].Containers["app"].PID) {
				t.Error("stopping one node killed a pod of the other")
			}
		})
	}
}

func TestStartWithOptions(t *testing.T) {
	for _, v := range Versions() {
		t.Run(string(v), func(t *testing.T) {
			Need(t, Root, v.Requirement())
			var log bytes.Buffer
			dir := filepath.Join(os.TempDir(), "porthole-t"+newID())
			n, err := Start(t.Context(), Options{Version: v, Dir: dir, Log: &log})
			if err != nil {
				t.Fatal(err)
			}
			if n.Endpoint() != "unix://"+filepath.Join(dir, "c.sock") {
				t.Errorf("endpoint %s is not in %s", n.Endpoint(), dir)
			}
			if err := n.Stop(); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(log.String(), "successfully booted") {
				t.Errorf("log holds %d bytes and not containerd's start", log.Len())
			}
		})
	}
}

// TestStartFails checks that a start that does not succeed says why and leaves
// nothing.
func TestStartFails(t *testing.T) {
	for _, v := range Versions() {
		t.Run(string(v), func(t *testing.T) {
			Need(t, Root, v.Requirement())
			dir := filepath.Join(os.TempDir(), "porthole-t"+newID())
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if n, err := Start(ctx, Options{Version: v, Dir: dir}); err == nil {
				t.Error("a node started in 50 ms", n.Stop())
			}
			if left := traces(t, record{ID: "none", Dir: dir}); len(left) > 0 {
				t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
			}
		})
	}
}

func TestStartRefuses(t *testing.T) {
	Need(t, Root, Containerd16)
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		opts Options
		is   func(error) bool
	}{
		"no version": {Options{}, errdefs.IsInvalidArgument},
		"relative":   {Options{Version: V16, Dir: "porthole"}, errdefs.IsInvalidArgument},
		"long":       {Options{Version: V16, Dir: "/tmp/" + strings.Repeat("x", maxDir)}, errdefs.IsInvalidArgument},
	} {
		if _, err := Start(t.Context(), c.opts); !c.is(err) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	short := filepath.Join(os.TempDir(), "porthole-t"+newID())
	if err := os.Symlink(full, short); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(short)
	if _, err := Start(t.Context(), Options{Version: V16, Dir: short}); !errdefs.IsAlreadyExists(err) {
		t.Errorf("directory with a file in it: error %v", err)
	}
	if _, err := os.Stat(filepath.Join(full, "f")); err != nil {
		t.Errorf("a refused directory lost its file: %v", err)
	}
}
