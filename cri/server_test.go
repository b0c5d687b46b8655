package cri

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/porthole-project/porthole/cri/critest"
	"github.com/porthole-project/porthole/runtime"
)

// recordings are the two runtimes that every test of their manners runs on.
var recordings = []string{"containerd-2.4.2", "crio-1.37"}

// onBoth runs a test on a server of each runtime.
func onBoth(t *testing.T, test func(t *testing.T, s *critest.Server, c *Client)) {
	t.Helper()
	for _, name := range recordings {
		t.Run(name, func(t *testing.T) {
			s := serve(t, name)
			test(t, s, dial(t, s))
		})
	}
}

func serve(t *testing.T, recording string, opts ...critest.Option) *critest.Server {
	t.Helper()
	return critest.New(t, append(opts, critest.WithRecording(critest.Load(t, recording)))...)
}

// dial connects with deadlines that a test can wait for.
func dial(t *testing.T, s *critest.Server) *Client {
	t.Helper()
	c, err := Dial(t.Context(), Endpoints{Runtime: s.Endpoint(), Source: "test"}, Limits{Call: 5 * time.Second, Create: 5 * time.Second, Pull: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// calls are the names of what the server was asked since the test began to
// count, in no order.
func calls(s *critest.Server, from int) map[string]int {
	count := map[string]int{}
	for _, call := range s.Calls()[from:] {
		count[call.Method]++
	}
	return count
}

// factsOf resolves the recorded pod whose name begins like this (the two
// recordings have other suffixes) and its container app.
func factsOf(t *testing.T, c *Client, name string) *runtime.Facts {
	t.Helper()
	pods, err := c.Pods(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if p.Name != name && !strings.HasPrefix(p.Name, name+"-") {
			continue
		}
		match, containers, err := c.Find(t.Context(), runtime.Ref{Name: p.Name})
		if err != nil {
			t.Fatal(err)
		}
		var target *runtime.Container // the privileged pod of CRI-O's recording has no container
		if choice, err := runtime.ChooseTarget(match.Pod, containers, "app"); err == nil {
			target = &choice.Container
		}
		f, err := c.Facts(t.Context(), match.Pod, containers, target)
		if err != nil {
			t.Fatal(err)
		}
		if f.Image, err = c.Image(t.Context(), runtime.ImageOrder{Ref: "localhost/busybox:1", Policy: corev1.PullNever, Notice: func(string) {}}); err != nil {
			t.Fatal(err)
		}
		return f
	}
	t.Fatalf("no pod %s was recorded", name)
	return nil
}

// planIn plans a debug container in a recorded pod.
func planIn(t *testing.T, c *Client, pod string, change func(*corev1.EphemeralContainer)) *runtime.Plan {
	t.Helper()
	spec := corev1.EphemeralContainer{}
	spec.Name, spec.Image, spec.Command = "porthole-x", "localhost/busybox:1", []string{"sh"}
	if change != nil {
		change(&spec)
	}
	p, err := runtime.NewPlan(factsOf(t, c, pod), runtime.Request{Spec: spec, Mark: runtime.Mark{Session: "s1", Owner: "jane"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// nothingLeft fails the test if the server has a container of planIn's session.
func nothingLeft(t *testing.T, c *Client) {
	t.Helper()
	left, err := c.Containers(context.WithoutCancel(t.Context()), map[string]string{runtime.LabelSession: "s1"})
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %+v, %v", left, err)
	}
}

// writeFile puts text into a new file below the test's own directory.
func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
