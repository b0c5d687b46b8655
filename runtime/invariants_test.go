package runtime

import (
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/porthole-project/porthole/runtime/ephemeral"
)

// pick returns one of the choices.
func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }

func randomRequest(r *rand.Rand, word string) Request {
	req := Request{Mark: Mark{Session: "s1", Owner: pick(r, "", word), Target: pick(r, "", word)}}
	s := &req.Spec
	s.Name = pick(r, "porthole-x", "app", "a.b", "..", word)
	s.Image = pick(r, "busybox:1", "busybox", word)
	s.Command, s.Args = pick(r, nil, []string{word, "$(A)"}), pick(r, nil, []string{"$(" + word + ")"})
	s.WorkingDir = pick(r, "", "/tmp", "/proc/self", word)
	s.TerminationMessagePath = pick(r, "", "/tmp/x", word)
	s.Stdin, s.TTY, s.StdinOnce = r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0
	for range r.IntN(4) {
		s.Env = append(s.Env, corev1.EnvVar{Name: pick(r, "A", "PATH", word), Value: pick(r, word, "$(A)", "$$")})
	}
	_ = ephemeral.ApplyProfile(s, pick(r, append(ephemeral.Profiles(), word)...))
	return req
}

func randomFacts(r *rand.Rand, word string) *Facts {
	f := goodFacts()
	f.Pod.State = pick(r, Ready, Ready, Ready, NotReady)
	f.Sandbox.ProcessIDs = pick(r, ModePod, ModeContainer, ModeNode)
	f.Sandbox.LogDirectory = pick(r, f.Sandbox.LogDirectory, f.Sandbox.LogDirectory, "")
	f.Sandbox.CgroupParent = pick(r, "", word, "/kubepods/besteffort/podu1")
	f.Target.State = pick(r, Running, Running, Running, Exited)
	f.Target.Env = []EnvVar{{word, word}, {word + "_SERVICE_HOST", "1"}, {word + "_SERVICE_PORT", word}}
	if r.IntN(4) == 0 {
		f.Target = nil
	}
	if r.IntN(8) == 0 {
		delete(f.Pod.Labels, pick(r, LabelPodName, LabelPodNamespace, LabelPodUID))
	}
	f.Image.UID = pick(r, nil, num(0), num(1000))
	f.Files = KubeletFiles{EtcHosts: pick(r, "", "/k/etc-hosts"), TerminationLog: pick(r, "", "/k/containers/porthole-x/0a")}
	return f
}

// checkPlan holds what must be true of every plan, whatever was asked for.
func checkPlan(t *testing.T, f *Facts, p *Plan) {
	t.Helper()
	if !path.IsAbs(p.LogDirectory) || p.LogPath != p.Name+"/0.log" || strings.ContainsAny(p.Name, "/.") || p.Name == "" {
		t.Fatalf("log %q in %q of %q: kubelet would clean up elsewhere", p.LogPath, p.LogDirectory, p.Name)
	}
	for key, want := range map[string]string{LabelPodName: "web", LabelPodNamespace: "prod", LabelPodUID: "u1", LabelContainerName: p.Name, LabelSession: "s1"} {
		if p.Labels[key] != want {
			t.Fatalf("label %s is %q, want %q", key, p.Labels[key], want)
		}
	}
	for key := range p.Labels {
		if !strings.HasPrefix(key, "io.kubernetes.") && !strings.HasPrefix(key, "porthole.dev/") {
			t.Fatalf("label %s is neither kubelet's nor ours", key)
		}
	}
	for _, m := range p.Mounts {
		if m.HostPath != f.Files.EtcHosts && m.HostPath != f.Files.TerminationLog {
			t.Fatalf("mount of %q, which is none of the pod's files", m.HostPath)
		}
	}
	if (p.Namespaces.ProcessIDs == ModeTarget) != (p.Namespaces.TargetID != "") {
		t.Fatalf("namespaces %+v", p.Namespaces)
	}
	if p.Namespaces.ProcessIDs == ModeTarget && (f.Sandbox.ProcessIDs != ModeContainer || f.Target.State != Running) {
		t.Fatalf("TARGET of %+v in a pod with PIDs of %s", f.Target, f.Sandbox.ProcessIDs)
	}
	if p.Security.RunAsUser == nil && p.Security.RunAsUsername == "" {
		t.Fatal("no user")
	}
	seen := map[string]bool{}
	for _, e := range p.Env {
		if seen[e.Name] {
			t.Fatalf("variable %s twice", e.Name)
		}
		seen[e.Name] = true
	}
}

// FuzzPlan: no spec and no state of the node leads to a plan that would harm
// the node.
func FuzzPlan(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed, "word")
	}
	f.Add(uint64(1), "/proc/1/root")
	f.Add(uint64(2), "../../etc")
	f.Add(uint64(3), "")
	f.Fuzz(func(t *testing.T, seed uint64, word string) {
		r := rand.New(rand.NewPCG(seed, 1))
		for range 50 {
			facts := randomFacts(r, word)
			p, err := NewPlan(facts, randomRequest(r, word))
			if err == nil {
				checkPlan(t, facts, p)
			}
		}
	})
}
