package cri

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	corev1 "k8s.io/api/core/v1"

	"github.com/porthole-project/porthole/cri/critest"
	"github.com/porthole-project/porthole/runtime"
)

func TestLaunch(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, c *Client) {
		p := planIn(t, c, "plain", nil)
		k, err := c.Launch(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		made := s.Container(k.ID())
		if made == nil || made.State() != runtimeapi.ContainerState_CONTAINER_RUNNING {
			t.Fatalf("container %s: %v", k.ID(), made)
		}
		if got, want := made.LogPath(), filepath.Join(p.LogDirectory, "porthole-x", "0.log"); got != want {
			t.Errorf("log %s, want %s", got, want)
		}
		if pid, err := k.PID(t.Context()); err != nil || pid <= 0 {
			t.Errorf("pid %d, %v", pid, err)
		}
		made.Exit(3)
		if _, err := k.PID(t.Context()); !errdefs.IsNotFound(err) {
			t.Errorf("pid of one that has ended: %v", err)
		}
		ours, err := c.Ours(t.Context())
		if err != nil || len(ours) != 1 || ours[0].ID != k.ID() || ours[0].Exit == nil || ours[0].Exit.Code != 3 || ours[0].Mark.Owner != "jane" {
			t.Fatalf("%+v, %v", ours, err)
		}
		if dir := filepath.Join(p.LogDirectory, "porthole-x"); len(ours[0].Paths) != 1 || ours[0].Paths[0] != dir {
			t.Errorf("its own directories: %q, want %s", ours[0].Paths, dir)
		}
		for range 2 { // the second time there is nothing to remove
			if err := c.Remove(t.Context(), k.ID(), time.Second); err != nil {
				t.Error(err)
			}
		}
		nothingLeft(t, c)
	})
}

// Whatever goes wrong, and whether the runtime's answer came or not, nothing of
// the session is left.
func TestLaunchFaults(t *testing.T) {
	for _, f := range []struct {
		what  string
		fault func(*critest.Server)
		is    func(error) bool
		says  string
	}{
		{"create refused", func(s *critest.Server) {
			s.On("CreateContainer").Fail(codes.Unknown, "no space left on device").Times(1)
		}, errdefs.IsUnknown, `create container "porthole-x" in pod default/plain`},
		{"create loses its answer", func(s *critest.Server) {
			s.On("CreateContainer").AfterEffect().Fail(codes.Unavailable, "gone").Times(1)
		}, errdefs.IsUnavailable, "gone"},
		{"create never answers", func(s *critest.Server) { s.On("CreateContainer").AfterEffect().Hang().Times(1) }, isDeadline, "did not answer in time"},
		{"start refused", func(s *critest.Server) { s.On("StartContainer").Fail(codes.Unknown, "no cgroup").Times(1) }, errdefs.IsUnknown, `start container "porthole-x" in pod default/plain`},
		{"start loses its answer", func(s *critest.Server) { s.On("StartContainer").AfterEffect().Fail(codes.Unavailable, "gone").Times(1) }, errdefs.IsUnavailable, "gone"},
		{"start never answers", func(s *critest.Server) { s.On("StartContainer").AfterEffect().Hang().Times(1) }, isDeadline, "did not answer in time"},
		{"stop fails, remove works", func(s *critest.Server) {
			s.On("StartContainer").Fail(codes.Unknown, "no cgroup")
			s.On("StopContainer").Fail(codes.Unknown, "stuck")
		}, errdefs.IsUnknown, "no cgroup"},
	} {
		t.Run(f.what, func(t *testing.T) {
			onBoth(t, func(t *testing.T, s *critest.Server, c *Client) {
				c.limits.Create = 300 * time.Millisecond
				p := planIn(t, c, "plain", nil)
				f.fault(s)
				k, err := c.Launch(t.Context(), p)
				if k != nil || !f.is(err) || !strings.Contains(err.Error(), f.says) {
					t.Errorf("%v, %v; want one that says %q", k, err, f.says)
				}
				nothingLeft(t, c)
			})
		})
	}
}

func isDeadline(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// The client gives up while the runtime is creating: the call is heard to its
// end, and what it made is removed.
func TestLaunchCancelled(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, c *Client) {
		for _, method := range []string{"CreateContainer", "StartContainer"} {
			p := planIn(t, c, "plain", nil)
			ctx, cancel := context.WithCancel(t.Context())
			s.On(method).Delay(200 * time.Millisecond).Times(1)
			time.AfterFunc(50*time.Millisecond, cancel)
			k, err := c.Launch(ctx, p)
			if method == "StartContainer" && err == nil {
				// It was started all the same; the caller has it and removes it.
				_ = k.Close()
				_ = c.Remove(t.Context(), k.ID(), 0)
			} else if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v, %v", method, k, err)
			}
			nothingLeft(t, c)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p, before := planIn(t, c, "plain", nil), len(s.Created())
		if _, err := c.Launch(ctx, p); !errors.Is(err, context.Canceled) || len(s.Created()) != before {
			t.Errorf("already cancelled: %v, %d more created", err, len(s.Created())-before)
		}
	})
}

// A name that somebody else has: their container stays as it is. CRI-O answers
// with its ID as if it had just been made.
func TestLaunchOfANameThatIsTaken(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, c *Client) {
		mine, theirs := planIn(t, c, "plain", nil), planIn(t, c, "plain", nil)
		theirs.Labels[runtime.LabelSession] = "s2"
		other, err := c.Launch(t.Context(), theirs)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		starts := len(s.Calls("StartContainer"))
		k, err := c.Launch(t.Context(), mine)
		if k != nil || !errdefs.IsAlreadyExists(err) && !errdefs.IsFailedPrecondition(err) {
			t.Errorf("%v, %v", k, err)
		}
		if len(s.Calls("StartContainer")) != starts {
			t.Error("started a container that is another's")
		}
		if left := s.Container(other.ID()); left == nil || left.State() != runtimeapi.ContainerState_CONTAINER_RUNNING {
			t.Fatalf("the other's container: %v", left)
		}
		nothingLeft(t, c)
	})
}

func TestLaunchOfACommandThatIsMissing(t *testing.T) {
	onBoth(t, func(t *testing.T, _ *critest.Server, c *Client) {
		p := planIn(t, c, "plain", func(s *corev1.EphemeralContainer) { s.Command = []string{"/no/such"} })
		_, err := c.Launch(t.Context(), p)
		if !errors.Is(err, runtime.ErrCommandNotFound) || !strings.Contains(err.Error(), `command "/no/such"`) {
			t.Error(err)
		}
		nothingLeft(t, c)
	})
}

func TestLaunchNeedsItsLogDirectory(t *testing.T) {
	s := serve(t, "crio-1.37")
	c := dial(t, s)
	p := planIn(t, c, "plain", nil)
	p.LogDirectory = writeFile(t, filepath.Join(t.TempDir(), "file"), "")
	if _, err := c.Launch(t.Context(), p); err == nil || !strings.Contains(err.Error(), `log directory of container "porthole-x"`) {
		t.Error(err)
	}
	if n := len(s.Created()); n != 0 {
		t.Errorf("%d containers were asked for", n)
	}
}

// Remove tells what it could not do, and does not give up half way.
func TestRemoveFails(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, c *Client) {
		k, err := c.Launch(t.Context(), planIn(t, c, "plain", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		// For a moment it is tried again, then the refusal is told.
		refuses := true
		yes := func(proto.Message) bool { return refuses }
		s.On("StopContainer").When(yes).Fail(codes.Unknown, "stuck")
		s.On("RemoveContainer").When(yes).Fail(codes.Unknown, "busy")
		c.limits.Call = 200 * time.Millisecond
		err = c.Remove(t.Context(), k.ID(), 1500*time.Millisecond)
		if err == nil || !strings.Contains(err.Error(), "stuck") || !strings.Contains(err.Error(), "busy") {
			t.Error(err)
		}
		refuses = false
		stops := s.Calls("StopContainer")
		if len(stops) < 3 {
			t.Errorf("stopped %d times, want it tried again", len(stops))
		}
		if got := stops[len(stops)-1].Request.(*runtimeapi.StopContainerRequest).GetTimeout(); got != 2 {
			t.Errorf("grace of %d s, want 1.5 s rounded up", got)
		}
		// A caller who is gone does not stop the removal.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Remove(ctx, k.ID(), 0); err != nil {
			t.Error(err)
		}
		nothingLeft(t, c)
	})
}

// Only directories that end in the container's name are its own.
func TestOwnDirectories(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		what, log string
		mounts    []string
		want      []string
	}{
		{"log", "/var/log/pods/p/x/0.log", nil, []string{"/var/log/pods/p/x"}},
		{"another's log", "/var/log/pods/p/y/0.log", nil, nil},
		{"relative", "x/0.log", nil, nil},
		{"none", "", nil, nil},
		{"termination log", "", []string{"/k/pods/u1/containers/x/0a"}, []string{"/k/pods/u1/containers/x"}},
		{"of another pod", "", []string{"/k/pods/u2/containers/x/0a"}, nil},
		{"a user's", "", []string{"/srv/x/0a", "/x/0a", dir}, nil},
	} {
		status := &runtimeapi.ContainerStatus{LogPath: c.log, Labels: map[string]string{runtime.LabelPodUID: "u1"}}
		for _, m := range c.mounts {
			status.Mounts = append(status.Mounts, &runtimeapi.Mount{HostPath: m, ContainerPath: "/tmp/why"})
		}
		status.Annotations = map[string]string{"io.kubernetes.container.terminationMessagePath": "tmp/why"}
		got := ownDirectories(status, "x")
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	status := &runtimeapi.ContainerStatus{Mounts: []*runtimeapi.Mount{{HostPath: "/k/pods/u1/containers/x/0a", ContainerPath: "/data"}}, Labels: map[string]string{runtime.LabelPodUID: "u1"}}
	if got := ownDirectories(status, "x"); got != nil {
		t.Errorf("a volume that looks like it: %q", got)
	}
	status = &runtimeapi.ContainerStatus{Mounts: []*runtimeapi.Mount{{HostPath: "/pods/containers/x/0a"}}}
	if got := ownDirectories(status, "x"); got != nil {
		t.Errorf("without a pod: %q", got)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}
