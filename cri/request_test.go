package cri

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/cri/critest"
	"github.com/porthole-project/porthole/runtime"
	"github.com/porthole-project/porthole/runtime/ephemeral"
)

func mustRequest(t *testing.T, c *Client, p *runtime.Plan) *runtimeapi.CreateContainerRequest {
	t.Helper()
	r, err := c.Request(p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// containerd compares the user namespace options of both halves of a request,
// and wants the mapping on every mount, too.
func TestRequestCarriesTheUserNamespace(t *testing.T) {
	onBoth(t, func(t *testing.T, _ *critest.Server, c *Client) {
		for _, pod := range []string{"plain", "userns"} {
			p := planIn(t, c, pod, nil)
			p.Mounts = []runtime.Mount{{HostPath: "/k/etc-hosts", ContainerPath: "/etc/hosts"}, {HostPath: "/k/log", ContainerPath: "/dev/termination-log", Relabel: true}}
			r := mustRequest(t, c, p)
			theirs := r.GetSandboxConfig().GetLinux().GetSecurityContext().GetNamespaceOptions().GetUsernsOptions()
			ours := r.GetConfig().GetLinux().GetSecurityContext().GetNamespaceOptions().GetUsernsOptions()
			if theirs == nil || !proto.Equal(ours, theirs) {
				t.Errorf("%s: sandbox %v, container %v", pod, theirs, ours)
			}
			for _, m := range r.GetConfig().GetMounts() {
				if len(m.GetUidMappings()) != len(theirs.GetUids()) || len(m.GetGidMappings()) != len(theirs.GetGids()) {
					t.Errorf("%s: mount %v has not the pod's mapping", pod, m)
				}
			}
			if !r.GetConfig().GetMounts()[1].GetSelinuxRelabel() || r.GetConfig().GetMounts()[0].GetSelinuxRelabel() {
				t.Errorf("%s: relabelling %v", pod, r.GetConfig().GetMounts())
			}
		}
		p := planIn(t, c, "plain", nil)
		p.Namespaces.Users = runtime.UserNamespace{}
		if got := mustRequest(t, c, p).GetConfig().GetLinux().GetSecurityContext().GetNamespaceOptions().GetUsernsOptions(); got != nil {
			t.Errorf("a sandbox that says nothing of users: %v", got)
		}
	})
}

// Both runtimes look only at the request: the sandbox's half must be privileged
// too, as kubelet makes it.
func TestRequestOfAPrivilegedContainer(t *testing.T) {
	onBoth(t, func(t *testing.T, _ *critest.Server, c *Client) {
		p := planIn(t, c, "plain", func(s *corev1.EphemeralContainer) { _ = ephemeral.ApplyProfile(s, "sysadmin") })
		r := mustRequest(t, c, p)
		if !r.GetConfig().GetLinux().GetSecurityContext().GetPrivileged() || !r.GetSandboxConfig().GetLinux().GetSecurityContext().GetPrivileged() {
			t.Errorf("privileged: %v", r)
		}
		if p.Native.(*runtimeapi.PodSandboxConfig).GetLinux().GetSecurityContext().GetPrivileged() {
			t.Error("the stored configuration was changed")
		}
		if mustRequest(t, c, planIn(t, c, "plain", nil)).GetSandboxConfig().GetLinux().GetSecurityContext().GetPrivileged() {
			t.Error("an ordinary one makes the pod privileged")
		}
		k, err := c.Launch(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		_ = k.Close()
		// A sandbox made by hand may say nothing of security at all.
		p.Native = &runtimeapi.PodSandboxConfig{}
		if !mustRequest(t, c, p).GetSandboxConfig().GetLinux().GetSecurityContext().GetPrivileged() {
			t.Error("an empty configuration")
		}
	})
}

func TestRequestRefuses(t *testing.T) {
	s := serve(t, "containerd-2.4.2")
	c := dial(t, s)
	for _, path := range []string{"/proc", "/proc/", "/proc/1/root", "/proc/self/root/etc", "//proc/1/root", "/./proc/1", "/etc/../proc/1/root"} {
		p := planIn(t, c, "plain", nil)
		p.Mounts = append(p.Mounts, runtime.Mount{HostPath: path, ContainerPath: "/mnt"})
		if r, err := c.Request(p); r != nil || !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "under /proc") {
			t.Errorf("%s: rendered %v, %v", path, r != nil, err)
		}
	}
	p := planIn(t, c, "plain", nil)
	p.Native = "another rung's"
	if _, err := c.Request(p); !errdefs.IsInvalidArgument(err) {
		t.Errorf("facts of another rung: %v", err)
	}
	if _, err := c.Launch(t.Context(), p); !errdefs.IsInvalidArgument(err) {
		t.Errorf("launched with them: %v", err)
	}
}

// TestRender: the document is the request that is then sent.
func TestRender(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, c *Client) {
		for _, pod := range []string{"plain", "userns", "hostns"} {
			p := planIn(t, c, pod, func(s *corev1.EphemeralContainer) {
				s.Env = []corev1.EnvVar{{Name: "A", Value: "<&>\u2028\"'"}}
				s.Command = []string{"sh", "-c", "echo '$$' > /tmp/\"x\""}
			})
			from := len(s.Calls())
			doc, err := c.Render(p)
			if err != nil {
				t.Fatal(err)
			}
			if got := calls(s, from); len(got) > 0 {
				t.Errorf("asked %v for a document", got)
			}
			k, err := c.Launch(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			_ = k.Close()
			sent := s.Created()[len(s.Created())-1]
			var fromJSON runtimeapi.CreateContainerRequest
			if err := json.Unmarshal(doc, &fromJSON); err != nil || !proto.Equal(&fromJSON, sent) {
				t.Errorf("%s: %v: JSON is not what was sent:\n%s\n%v", pod, err, doc, sent)
			}
		}
	})
}

// TestRequestInvariants: whatever is asked for in whichever recorded pod, the
// request mounts nothing below /proc, logs where kubelet looks, and carries
// kubelet's labels.
func TestRequestInvariants(t *testing.T) {
	onBoth(t, func(t *testing.T, _ *critest.Server, c *Client) {
		rendered := 0
		for _, pod := range []string{"plain", "userns", "hostns", "sharepid", "hardened", "privileged"} {
			f := factsOf(t, c, pod)
			for seed := range uint64(100) {
				r := rand.New(rand.NewPCG(seed, 4))
				word := []string{"x", "", "/proc/1/root", "../..", "$(A)", "\xff"}[r.IntN(6)]
				var spec corev1.EphemeralContainer
				spec.Name, spec.Image = []string{"porthole-x", "app", word}[r.IntN(3)], "localhost/busybox:1"
				spec.Command, spec.WorkingDir, spec.TerminationMessagePath = []string{word, "$(A)"}, word, word
				spec.Env = []corev1.EnvVar{{Name: "A", Value: word}}
				_ = ephemeral.ApplyProfile(&spec, ephemeral.Profiles()[r.IntN(6)])
				f.Files = runtime.KubeletFiles{EtcHosts: []string{"", "/k/hosts", word}[r.IntN(3)], TerminationLog: []string{"", "/k/log", word}[r.IntN(3)]}
				p, err := runtime.NewPlan(f, runtime.Request{Spec: spec, Mark: runtime.Mark{Session: "s1"}})
				if err != nil {
					continue
				}
				request, err := c.Request(p)
				if err != nil {
					continue
				}
				rendered++
				checkRequest(t, request, f)
			}
		}
		if rendered < 50 {
			t.Errorf("only %d requests were rendered", rendered)
		}
	})
}

func checkRequest(t *testing.T, r *runtimeapi.CreateContainerRequest, f *runtime.Facts) {
	t.Helper()
	config := r.GetConfig()
	for _, m := range config.GetMounts() {
		if strings.HasPrefix(m.GetHostPath(), "/proc") {
			t.Fatalf("mounts %s", m.GetHostPath())
		}
	}
	if config.GetLogPath() != config.GetMetadata().GetName()+"/0.log" || r.GetSandboxConfig().GetLogDirectory() != f.Sandbox.LogDirectory {
		t.Fatalf("log %q in %q", config.GetLogPath(), r.GetSandboxConfig().GetLogDirectory())
	}
	labels := config.GetLabels()
	if labels[runtime.LabelPodName] != f.Pod.Name || labels[runtime.LabelPodNamespace] != f.Pod.Namespace || labels[runtime.LabelPodUID] != f.Pod.UID ||
		labels[runtime.LabelContainerName] != config.GetMetadata().GetName() || labels[runtime.LabelSession] != "s1" {
		t.Fatalf("labels %v", labels)
	}
	if config.GetImage().GetUserSpecifiedImage() == "" || r.GetPodSandboxId() != f.Pod.ID {
		t.Fatalf("%v", r)
	}
}
