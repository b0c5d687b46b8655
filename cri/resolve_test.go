package cri

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/cri/critest"
	"github.com/porthole-project/porthole/runtime"
)

// TestFindAsksTwoQuestions: a name costs one list of sandboxes and one of
// containers, both filtered, on a node with however many pods.
func TestFindAsksTwoQuestions(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, c *Client) {
		pods, err := c.Pods(t.Context(), nil)
		if err != nil || len(pods) < 8 {
			t.Fatalf("%d pods, %v", len(pods), err)
		}
		for _, p := range pods {
			for _, ref := range []runtime.Ref{{Name: p.Name}, {Namespace: p.Namespace, Name: p.Name}} {
				from := len(s.Calls())
				m, containers, err := c.Find(t.Context(), ref)
				if err != nil || m.Pod.ID != p.ID || m.Container != nil || len(containers) == 0 && !strings.HasPrefix(p.Name, "privileged") {
					t.Errorf("%s: %+v with %d containers, %v", ref, m, len(containers), err)
				}
				if got := calls(s, from); !reflect.DeepEqual(got, map[string]int{"ListPodSandbox": 1, "ListContainers": 1}) {
					t.Errorf("%s: asked %v", ref, got)
				}
				for _, call := range s.Calls()[from:] {
					if req, ok := call.Request.(*runtimeapi.ListPodSandboxRequest); ok && req.GetFilter().GetLabelSelector()[runtime.LabelPodName] != p.Name {
						t.Errorf("%s: not filtered: %v", ref, req)
					}
				}
				if slices.ContainsFunc(containers, func(k runtime.Container) bool { return k.PodID != p.ID }) {
					t.Errorf("%s: containers of other pods", ref)
				}
			}
		}
	})
}

func TestFindByID(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, c *Client) {
		pods, containers := lists(t, c)
		for _, p := range pods {
			from := len(s.Calls())
			m, _, err := c.Find(t.Context(), runtime.Ref{Name: p.ID[:13], ID: p.ID[:13]})
			if err != nil || m.Pod.ID != p.ID {
				t.Errorf("%.13s: %+v, %v", p.ID, m, err)
			}
			if got := calls(s, from); !reflect.DeepEqual(got, map[string]int{"ListPodSandbox": 2, "ListContainers": 2}) {
				t.Errorf("asked %v", got)
			}
		}
		for _, k := range containers {
			m, _, err := c.Find(t.Context(), runtime.Ref{Name: k.ID, ID: k.ID})
			if err != nil || m.Pod.ID != k.PodID || m.Container == nil || m.Container.ID != k.ID {
				t.Errorf("container %.13s: %+v, %v", k.ID, m, err)
			}
		}
		_, _, err := c.Find(t.Context(), runtime.Ref{Name: "nope"})
		if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), pods[0].FullName()) {
			t.Errorf("the candidates are missing: %v", err)
		}
	})
}

func lists(t *testing.T, c *Client) ([]runtime.Pod, []runtime.Container) {
	t.Helper()
	pods, err := c.Pods(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	containers, err := c.Containers(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return pods, containers
}

func TestListsOfTheRecordedNodes(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, c *Client) {
		pods, containers := lists(t, c)
		for _, p := range pods {
			if p.Name == "" || p.Namespace == "" || p.UID == "" || p.State != runtime.Ready || p.Created.Year() < 2026 || p.Labels[runtime.LabelPodUID] != p.UID {
				t.Errorf("%+v", p)
			}
		}
		for _, k := range containers {
			exited := strings.HasPrefix(k.Name, "debugger-") || k.Attempt > 0
			if k.Name == "" || k.Image == "" || k.ImageID == "" || (k.State == runtime.Exited) != exited {
				t.Errorf("%+v", k)
			}
			// Only containerd remembers what the pod's author wrote.
			if s.Flavor() == critest.Containerd && !strings.HasPrefix(k.Image, "localhost/") {
				t.Errorf("image %q", k.Image)
			}
		}
		if ours, err := c.Ours(t.Context()); err != nil || ours != nil {
			t.Errorf("kubectl's debug containers are not ours: %+v, %v", ours, err)
		}
	})
}

// TestFacts: what a pod was created with, told by containerd and put together
// again from what CRI-O tells.
func TestFacts(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, c *Client) {
		userns := func(users runtime.UserNamespace) bool {
			return users.Mode == runtime.ModePod && len(users.UIDs) == 1 && users.UIDs[0].Length == 65536 && users.UIDs[0].Host > 65535 && reflect.DeepEqual(users.UIDs, users.GIDs)
		}
		for _, k := range []struct {
			pod          string
			net, pid     runtime.NamespaceMode
			userns, priv bool
		}{
			{"plain", runtime.ModePod, runtime.ModeContainer, false, false},
			{"hardened", runtime.ModePod, runtime.ModeContainer, false, false},
			{"sharepid", runtime.ModePod, runtime.ModePod, false, false},
			{"hostns", runtime.ModeNode, runtime.ModeNode, false, false},
			{"userns", runtime.ModePod, runtime.ModeContainer, true, false},
			{"privileged", runtime.ModePod, runtime.ModeContainer, false, true},
			{"guaranteed", runtime.ModePod, runtime.ModeContainer, false, false},
		} {
			f := factsOf(t, c, k.pod)
			sb := f.Sandbox
			if sb.Network != k.net || sb.IPC != k.net || sb.ProcessIDs != k.pid {
				t.Errorf("%s: namespaces %+v", k.pod, sb)
			}
			if k.userns != userns(sb.Users) || !k.userns && sb.Users.Mode != runtime.ModeNode {
				t.Errorf("%s: users %+v", k.pod, sb.Users)
			}
			// CRI-O runs host namespaces on the runtime for privileged ones.
			if sb.Privileged != k.priv && !(k.pod == "hostns" && s.Flavor() == critest.CRIO) {
				t.Errorf("%s: privileged %v", k.pod, sb.Privileged)
			}
			if want := s.LogRoot() + "/" + f.Pod.Namespace + "_" + f.Pod.Name + "_" + f.Pod.UID; sb.LogDirectory != want {
				t.Errorf("%s: log directory %q, want %q", k.pod, sb.LogDirectory, want)
			}
			config := f.Native.(*runtimeapi.PodSandboxConfig)
			if config.GetLabels()[runtime.LabelContainerName] != "" || config.GetLabels()[runtime.LabelPodUID] != f.Pod.UID || config.GetMetadata().GetUid() != f.Pod.UID {
				t.Errorf("%s: labels %v of %v", k.pod, config.GetLabels(), config.GetMetadata())
			}
			wantHost := f.Pod.Name
			if k.net == runtime.ModeNode {
				wantHost = ""
			}
			if config.GetHostname() != wantHost {
				t.Errorf("%s: host name %q, want %q", k.pod, config.GetHostname(), wantHost)
			}
			if f.Target == nil && k.priv && s.Flavor() == critest.CRIO {
				continue // was recorded before it had a container
			}
			if f.Target == nil || f.Target.Name != "app" || f.Target.PID <= 0 || len(f.Target.Mounts) == 0 || !f.Target.SecurityKnown || f.Target.Security.Seccomp.Type == "" {
				t.Errorf("%s: target %+v", k.pod, f.Target)
			}
		}
	})
}

func TestFactsOfTheTarget(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, c *Client) {
		f := factsOf(t, c, "crashloop")
		if f.Target.State != runtime.Exited || f.Target.PID != 0 {
			t.Errorf("one that has ended: %s with pid %d", f.Target.State, f.Target.PID)
		}
		if f := factsOf(t, c, "plain"); s.Flavor() == critest.Containerd && !slices.Contains(f.Target.Env, runtime.EnvVar{Name: "DB_HOST", Value: "db.local"}) {
			t.Errorf("environment %v", f.Target.Env)
		}
		hardened := factsOf(t, c, "hardened").Sandbox
		if s.Flavor() == critest.Containerd && (hardened.RunAsUser == nil || *hardened.RunAsUser != 1000 || *hardened.RunAsGroup != 3000 || !slices.Contains(hardened.SupplementalGroups, 4000)) {
			t.Errorf("pod's users: %+v", hardened)
		}
	})
}

// Without a target there is still a pod; an answer without verbose information
// leaves what cannot be known empty.
func TestFactsWithLessToldAndFaults(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, c *Client) {
		full := factsOf(t, c, "plain")
		f, err := c.Facts(t.Context(), full.Pod, full.Containers, nil)
		if err != nil || f.Target != nil || f.Sandbox.LogDirectory == "" {
			t.Errorf("no target: %+v, %v", f, err)
		}
		s.On("PodSandboxStatus").Fail(codes.NotFound, "gone").Times(1)
		if _, err := c.Facts(t.Context(), full.Pod, nil, nil); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), full.Pod.FullName()) {
			t.Errorf("sandbox gone: %v", err)
		}
		s.On("ContainerStatus").Fail(codes.NotFound, "gone").Times(1)
		if _, err := c.Facts(t.Context(), full.Pod, nil, &full.Target.Container); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), `target container "app"`) {
			t.Errorf("target gone: %v", err)
		}
		s.On("ListContainers").Fail(codes.Unavailable, "down").Times(1)
		if _, _, err := c.Find(t.Context(), runtime.Ref{Name: full.Pod.Name}); !errdefs.IsUnavailable(err) {
			t.Errorf("half of the lists: %v", err)
		}
	})
}
