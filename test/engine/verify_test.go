package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/cri/critest"
	"github.com/porthole-project/porthole/internal/agent"
	"github.com/porthole-project/porthole/runtime"
	"github.com/porthole-project/porthole/test/testenv"
)

func TestVerified(t *testing.T) {
	for _, recording := range []string{"containerd-2.4.2", "crio-1.37"} {
		t.Run(recording, func(t *testing.T) {
			b := newBench(t, critest.WithRecording(critest.Load(t, recording)))
			b.server.OnStart(critest.Process("sleep", "1"))
			p := b.prepare(t, b.order(t))
			out, err := b.Run(t.Context(), p, runtime.Streams{})
			if err != nil || out.Ended != nil || out.Exit.Code != 0 || out.Session != p.Session || out.ID == "" {
				t.Fatalf("%+v, %v", out, err)
			}
			if got, want := out.Verdict.String(), "verified: ipc, net, pid, user, uts"; got != want {
				t.Errorf("%s, want %s", got, want)
			}
			b.nothingLeft(t, p)
		})
	}
}

// A runtime that ignores the target without a word: nothing goes in or comes
// out, and the container is removed at once.
func TestTargetIgnored(t *testing.T) {
	b := newBench(t, critest.WithTargetIgnored())
	b.server.OnAttach(func(a *critest.Attachment) {
		_ = a.Container.Log("stdout", "from another namespace\n")
		_, _ = io.WriteString(a.Stdout, "from another namespace\n")
		<-a.Done()
	})
	o := b.order(t)
	o.Spec.Stdin, o.Spec.StdinOnce = true, true
	p := b.prepare(t, o)
	var stdout bytes.Buffer
	stdin := strings.NewReader("secret")
	out, err := b.Run(t.Context(), p, runtime.Streams{Stdin: stdin, Stdout: &stdout})
	skipWithoutNamespaces(t, err)
	if !errdefs.IsFailedPrecondition(err) {
		t.Fatalf("%+v, %v", out, err)
	}
	for _, want := range []string{`does not share namespaces with target container "app"`, "pid (", "net (", "ipc (", "uts (", ", want ", "does containerd 2.4.2"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if !strings.HasPrefix(out.Verdict.String(), "different: ") || len(out.Verdict.Differing) < 4 {
		t.Errorf("verdict %s", out.Verdict)
	}
	if stdout.Len() > 0 || stdin.Len() != len("secret") {
		t.Errorf("output %q, %d bytes of input left", stdout.String(), stdin.Len())
	}
	b.nothingLeft(t, p)
}

func TestTargetIgnoredIsAllowed(t *testing.T) {
	b := newBench(t, critest.WithTargetIgnored())
	attached := make(chan *critest.Attachment, 1)
	b.server.OnAttach(func(a *critest.Attachment) {
		attached <- a
		select {
		case <-a.Container.Done():
		case <-a.Done():
		}
	})
	o := b.order(t)
	o.AllowMismatch = true
	p := b.prepare(t, o)
	go func() {
		select {
		case a := <-attached:
			time.Sleep(200 * time.Millisecond)
			a.Container.Exit(5)
		case <-t.Context().Done():
		}
	}()
	out, err := b.Run(t.Context(), p, runtime.Streams{})
	skipWithoutNamespaces(t, err)
	if err != nil || out.Exit.Code != 5 || !strings.HasPrefix(out.Verdict.String(), "different: ") {
		t.Errorf("%+v, %v", out, err)
	}
	if told := b.told(); !strings.Contains(told, "Warning: container") || !strings.Contains(told, "does not share namespaces") {
		t.Errorf("told %q", told)
	}
	b.nothingLeft(t, p)
}

// skipWithoutNamespaces skips where the kernel lets only root make namespaces.
func skipWithoutNamespaces(t *testing.T, err error) {
	t.Helper()
	if err != nil && (strings.Contains(err.Error(), "operation not permitted") || strings.Contains(err.Error(), "no space left on device")) {
		testenv.Need(t, testenv.Root)
		t.Fatalf("root cannot make namespaces: %v", err)
	}
}

// Quick commands have often ended before they can be looked at.
func TestEndedFirst(t *testing.T) {
	gone := sleeper(t)
	_ = gone.Process.Kill()
	_ = gone.Wait()
	for what, start := range map[string]func(c *critest.Container) (int, error){
		"the runtime knows": func(c *critest.Container) (int, error) {
			_ = c.Log("stdout", "hello\n")
			c.Exit(3)
			return 1 << 22, nil
		},
		"the runtime does not know yet": func(c *critest.Container) (int, error) {
			_ = c.Log("stdout", "hello\n")
			time.AfterFunc(300*time.Millisecond, func() { c.Exit(3) })
			return gone.Process.Pid, nil
		},
	} {
		b := newBench(t)
		b.server.OnStart(start)
		p := b.prepare(t, b.order(t))
		var stdout bytes.Buffer
		out, err := b.Run(t.Context(), p, runtime.Streams{Stdout: &stdout})
		if err != nil || out.Exit.Code != 3 || out.Verdict.String() != "unverified: "+agent.EndedFirst || stdout.String() != "hello\n" {
			t.Errorf("%s: %+v, %v, output %q", what, out, err, stdout.String())
		}
		b.nothingLeft(t, p)
	}
}

// A runtime that does not tell the process cannot be believed.
func TestUnverifiable(t *testing.T) {
	for what, change := range map[string]func(*testing.T, *bench){
		"pid 0": func(_ *testing.T, b *bench) {
			b.server.OnStart(func(*critest.Container) (int, error) { return 0, nil })
		},
		"no verbose information": func(t *testing.T, b *bench) {
			t.Helper()
			b.server.OnStart(critest.Process("sleep", "3600"))
			target := b.target(t).ID()
			other := func(req proto.Message) bool {
				return req.(*runtimeapi.ContainerStatusRequest).GetContainerId() != target
			}
			b.server.On("ContainerStatus").When(other).After(func(_, resp proto.Message, err error) error {
				if err == nil {
					resp.(*runtimeapi.ContainerStatusResponse).Info = nil
				}
				return err
			})
		},
	} {
		b := newBench(t)
		change(t, b)
		p := b.prepare(t, b.order(t))
		out, err := b.Run(t.Context(), p, runtime.Streams{})
		if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "could not be verified against target container") || !strings.Contains(err.Error(), "does not tell its process") {
			t.Errorf("%s: %+v, %v", what, out, err)
		}
		b.nothingLeft(t, p)
	}
}

// The target ends while the debug container starts.
func TestTargetEndsMeanwhile(t *testing.T) {
	b := newBench(t)
	victim := sleeper(t)
	b.target(t).SetPID(victim.Process.Pid)
	b.server.OnStart(func(c *critest.Container) (int, error) {
		_ = victim.Process.Kill()
		_ = victim.Wait()
		return critest.Process("sleep", "3600")(c)
	})
	p := b.prepare(t, b.order(t))
	out, err := b.Run(t.Context(), p, runtime.Streams{})
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), `target container "app" has ended`) {
		t.Errorf("%+v, %v", out, err)
	}
	b.nothingLeft(t, p)
}

// A reference that is not what was resolved stops the session before anything
// is made.
func TestReferenceIsGone(t *testing.T) {
	b := newBench(t)
	gone := sleeper(t)
	b.target(t).SetPID(gone.Process.Pid)
	p := b.prepare(t, b.order(t))
	_ = gone.Process.Kill()
	_ = gone.Wait()
	if _, err := b.Run(t.Context(), p, runtime.Streams{}); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), `target container "app": process`) {
		t.Error(err)
	}
	b.Host.Pin = func(pid int) (agent.Process, error) {
		p, err := pin(pid)
		return stranger{p}, err
	}
	b.target(t).SetPID(sleeper(t).Process.Pid)
	p = b.prepare(t, b.order(t))
	if _, err := b.Run(t.Context(), p, runtime.Streams{}); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "is not in container") {
		t.Error(err)
	}
	if n := len(b.server.Created()); n != 0 {
		t.Errorf("%d containers were asked for", n)
	}
	b.nothingLeft(t, p)
}

// stranger is a process of another container.
type stranger struct{ agent.Process }

func (stranger) InContainer(string) (bool, error) { return false, nil }

func TestVerifyCancelled(t *testing.T) {
	b := newBench(t)
	b.server.OnStart(critest.Process("sleep", "3600"))
	p := b.prepare(t, b.order(t))
	why := errors.New("ctrl-c")
	ctx, cancel := context.WithCancelCause(t.Context())
	target := b.target(t).ID()
	b.server.On("ContainerStatus").When(func(req proto.Message) bool {
		return req.(*runtimeapi.ContainerStatusRequest).GetContainerId() != target
	}).Delay(300 * time.Millisecond)
	time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
	out, err := b.Run(ctx, p, runtime.Streams{})
	if !errors.Is(err, why) && !errors.Is(out.Ended, why) {
		t.Errorf("%+v, %v; want %v", out, err, why)
	}
	b.nothingLeft(t, p)
}
