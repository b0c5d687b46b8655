package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/cri/critest"
	"github.com/porthole-project/porthole/internal/agent"
	"github.com/porthole-project/porthole/runtime"
	"github.com/porthole-project/porthole/runtime/ephemeral"
)

func TestExpired(t *testing.T) {
	b := newBench(t)
	b.server.OnStart(critest.Process("sleep", "3600"))
	o := b.order(t)
	o.TTL = 500 * time.Millisecond
	p := b.prepare(t, o)
	began := time.Now()
	out, err := b.Run(t.Context(), p, runtime.Streams{})
	if err != nil || !errors.Is(out.Ended, agent.ErrExpired) || out.Exit.Code != 137 {
		t.Errorf("%+v, %v", out, err)
	}
	if took := time.Since(began); took < o.TTL || took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	b.nothingLeft(t, p)
}

// The label says when a session may be removed even if nobody watches it.
func TestExpiryIsInTheLabels(t *testing.T) {
	b := newBench(t)
	o := b.order(t)
	if p := b.prepare(t, o); p.Plan.Labels[runtime.LabelExpires] != "" || !p.Expires.IsZero() {
		t.Errorf("without a TTL: %v", p.Plan.Labels)
	}
	o.TTL = time.Hour
	p := b.prepare(t, o)
	mark, err := runtime.ReadMark(p.Plan.Labels)
	if left := time.Until(mark.Expires); err != nil || left < 59*time.Minute || left > time.Hour {
		t.Errorf("expires in %v, %v", left, err)
	}
	want := runtime.Mark{Session: p.Session, Owner: "jane", Target: "app", Keeper: "live", Expires: mark.Expires}
	if mark != want {
		t.Errorf("%+v, want %+v", mark, want)
	}
}

// Whenever the user gives up, nothing is left.
func TestCancelledAtAnyStep(t *testing.T) {
	why := errors.New("ctrl-c")
	for _, method := range []string{"", "CreateContainer", "StartContainer", "Attach", "ReopenContainerLog", "while it runs"} {
		b := newBench(t)
		b.server.OnStart(critest.Process("sleep", "3600"))
		p := b.prepare(t, b.order(t))
		ctx, cancel := context.WithCancelCause(t.Context())
		switch method {
		case "":
			cancel(why)
		case "while it runs":
			time.AfterFunc(600*time.Millisecond, func() { cancel(why) })
		default:
			b.server.On(method).Delay(300 * time.Millisecond).Times(1)
			time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
		}
		out, err := b.Run(ctx, p, runtime.Streams{})
		if !errors.Is(err, why) && (err != nil || !errors.Is(out.Ended, why)) {
			t.Errorf("%s: %+v, %v; want %v", method, out, err, why)
		}
		b.nothingLeft(t, p)
		cancel(nil)
	}
}

func TestLaunchFails(t *testing.T) {
	b := newBench(t)
	b.server.On("StartContainer").Fail(codes.Unknown, "no cgroup").Times(1)
	p := b.prepare(t, b.order(t))
	if out, err := b.Run(t.Context(), p, runtime.Streams{}); !errdefs.IsUnknown(err) || out.ID != "" {
		t.Errorf("%+v, %v", out, err)
	}
	b.nothingLeft(t, p)
}

// A container that cannot be removed is told of, and stays known for gc.
func TestCleanUpFails(t *testing.T) {
	b := newBench(t)
	b.server.OnStart(func(c *critest.Container) (int, error) { c.Exit(0); return 1 << 22, nil })
	rule := b.server.On("RemoveContainer").Fail(codes.Unavailable, "down")
	p := b.prepare(t, b.order(t))
	_, err := b.Run(t.Context(), p, runtime.Streams{})
	if err == nil || !strings.Contains(err.Error(), "'porthole gc' will try again") {
		t.Error(err)
	}
	if files, _ := os.ReadDir(b.state); len(files) != 1 {
		t.Errorf("the journal has %d entries, want the one to be tried again", len(files))
	}
	rule.Times(0)
	b.Host.Running = func(string) (bool, bool) { return false, true }
	if removed, err := b.Collect(t.Context(), false); err != nil || len(removed) != 1 || removed[0].Session != p.Session {
		t.Errorf("%+v, %v", removed, err)
	}
	b.nothingLeft(t, p)
}

// A name that was used before: its directory is another's, and stays.
func TestNameWasUsedBefore(t *testing.T) {
	b := newBench(t)
	o := b.order(t)
	o.Spec.Name = "dbg"
	p := b.prepare(t, o)
	theirs := filepath.Join(p.Plan.LogDirectory, "dbg")
	if err := os.MkdirAll(theirs, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Run(t.Context(), p, runtime.Streams{}); !errdefs.IsAlreadyExists(err) || !strings.Contains(err.Error(), theirs) {
		t.Error(err)
	}
	if !exists(theirs) || len(b.server.Created()) > 0 {
		t.Error("another's directory was taken")
	}
}

// The termination log is made as kubelet makes it, mounted, and removed.
func TestTerminationLog(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	b.Host.Describe = func(_ context.Context, f *runtime.Facts, spec *corev1.EphemeralContainer) {
		f.Files.EtcHosts, f.Files.ContainerDir = filepath.Join(root, "etc-hosts"), filepath.Join(root, "containers", spec.Name)
	}
	p := b.prepare(t, b.order(t))
	made := make(chan os.FileInfo, 1)
	b.server.OnStart(func(c *critest.Container) (int, error) {
		for _, m := range c.Request().GetConfig().GetMounts() {
			if m.GetContainerPath() == corev1.TerminationMessagePathDefault {
				info, _ := os.Stat(m.GetHostPath())
				made <- info
			}
		}
		c.Exit(0)
		return 1 << 22, nil
	})
	if _, err := b.Run(t.Context(), p, runtime.Streams{}); err != nil {
		t.Fatal(err)
	}
	if info := <-made; info == nil || info.Mode() != 0o666 || info.Size() != 0 {
		t.Errorf("termination log %v", info)
	}
	if exists(filepath.Join(root, "containers", p.Plan.Name)) || !exists(filepath.Join(root, "containers")) {
		t.Error("its directory is left, or more than it was removed")
	}
	b.nothingLeft(t, p)
}

// Without a place for state there is still a session.
func TestWithoutAJournal(t *testing.T) {
	b := newBench(t)
	b.Journal = nil
	b.server.OnStart(func(c *critest.Container) (int, error) { c.Exit(4); return 1 << 22, nil })
	p := b.prepare(t, b.order(t))
	if out, err := b.Run(t.Context(), p, runtime.Streams{}); err != nil || out.Exit.Code != 4 {
		t.Errorf("%+v, %v", out, err)
	}
	b.nothingLeft(t, p)
}

// A dry run pulls nothing and changes nothing.
func TestDryRun(t *testing.T) {
	b := newBench(t, critest.WithRegistry("localhost/tools:1"))
	o := b.order(t)
	o.DryRun, o.Spec.ImagePullPolicy = true, corev1.PullAlways
	if p := b.prepare(t, o); p.Plan.Namespaces.TargetID != b.target(t).ID() {
		t.Errorf("%+v", p.Plan.Namespaces)
	}
	o.Spec.Image = "localhost/tools:1"
	if _, err := b.Prepare(t.Context(), o); !errdefs.IsNotFound(err) {
		t.Errorf("of an image that is not here: %v", err)
	}
	for _, call := range b.server.Calls() {
		switch call.Method {
		case "Version", "ListPodSandbox", "ListContainers", "PodSandboxStatus", "ContainerStatus", "ImageStatus":
		default:
			t.Errorf("a dry run called %s", call.Method)
		}
	}
}

// What is wrong with an order is found before anything is pulled.
func TestPrepareRefuses(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*agent.Order)
		is     func(error) bool
	}{
		"no such pod":     {func(o *agent.Order) { o.Ref.Name = "nope" }, errdefs.IsNotFound},
		"no such target":  {func(o *agent.Order) { o.Target = "nope" }, errdefs.IsNotFound},
		"dead target":     {func(o *agent.Order) { o.Ref.Name = "crashloop" }, errdefs.IsFailedPrecondition},
		"bad image":       {func(o *agent.Order) { o.Spec.Image = "No Image" }, errdefs.IsInvalidArgument},
		"bad name":        {func(o *agent.Order) { o.Spec.Name = "No Name" }, errdefs.IsInvalidArgument},
		"name in the pod": {func(o *agent.Order) { o.Spec.Name = "app" }, errdefs.IsInvalidArgument},
		"root is forbidden": {func(o *agent.Order) {
			_ = ephemeral.ApplyProfile(&o.Spec, "restricted")
			o.Spec.SecurityContext.RunAsUser = new(int64)
		}, errdefs.IsFailedPrecondition},
	} {
		b := newBench(t, critest.WithRegistry("localhost/busybox:1"))
		o := b.order(t)
		o.Spec.ImagePullPolicy = corev1.PullAlways
		c.change(&o)
		p, err := b.Prepare(t.Context(), o)
		if !c.is(err) {
			t.Errorf("%s: %v, %v", what, p, err)
		}
		if n := len(b.server.Calls("PullImage")); n > 0 && what != "root is forbidden" {
			t.Errorf("%s: %d pulls", what, n)
		}
	}
}

func TestPrepareTellsWhatWasChosen(t *testing.T) {
	b := newBench(t)
	o := b.order(t)
	o.Ref.Name, o.Target = "sharepid", ""
	p := b.prepare(t, o)
	if told := b.told(); !strings.Contains(told, `Targeting container "`) || !strings.Contains(told, "share PID namespaces already (POD)") {
		t.Errorf("told %q", told)
	}
	if p.Plan.Namespaces.ProcessIDs != runtime.ModePod {
		t.Errorf("%+v", p.Plan.Namespaces)
	}
	if !strings.HasPrefix(p.Plan.Name, "porthole-") || len(p.Plan.Name) != len("porthole-")+8 {
		t.Errorf("name %q", p.Plan.Name)
	}
	o = b.order(t)
	o.NoTarget = true
	if p := b.prepare(t, o); p.Facts.Target != nil || p.Plan.Namespaces.ProcessIDs != runtime.ModeContainer || p.Plan.Labels[runtime.LabelTarget] != "" {
		t.Errorf("no target: %+v", p.Plan.Namespaces)
	}
	// The container of an ID that was named is the target.
	id := b.target(t).ID()
	o = b.order(t)
	o.Ref, o.Target = runtime.Ref{Name: id, ID: id}, ""
	if p := b.prepare(t, o); p.Plan.Namespaces.TargetID != id {
		t.Errorf("by ID: %+v", p.Plan.Namespaces)
	}
	if state := b.target(t).State(); state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the target is %s", state)
	}
}

// A mount that leads into /proc is refused before anything is made.
func TestMountsAreLookedAt(t *testing.T) {
	b := newBench(t)
	b.Host.Describe = func(_ context.Context, f *runtime.Facts, _ *corev1.EphemeralContainer) {
		f.Target.Mounts = append(f.Target.Mounts, runtime.Mount{HostPath: "/data/link", ContainerPath: "/data"})
	}
	b.Host.CheckMount = func(path string) error {
		if path == "/data/link" {
			return fmt.Errorf("%s leads into a proc file system: %w", path, errdefs.ErrPermissionDenied)
		}
		return nil
	}
	o := b.order(t)
	b.prepare(t, o)
	o.Share = runtime.ShareAsIs
	if _, err := b.Prepare(t.Context(), o); !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), "mount at /data: /data/link leads") {
		t.Error(err)
	}
	if len(b.server.Created()) > 0 {
		t.Error("a container was created")
	}
}
