package runtime

import (
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"

	"github.com/porthole-project/porthole/runtime/ephemeral"
)

// goodSpec is one that nothing is wrong with.
func goodSpec() *corev1.EphemeralContainer {
	spec := &corev1.EphemeralContainer{}
	spec.Name, spec.Image = "porthole-x", "busybox:1.36"
	return spec
}

// goodFacts are those of an ordinary pod on containerd, of which nothing is
// wrong.
func goodFacts() *Facts {
	app := Container{ID: podID("1111a"), PodID: podID("aaaa1"), Name: "app", State: Running, Annotations: map[string]string{annotationGracePeriod: "30"}}
	return &Facts{
		Runtime: "containerd 2.4.2",
		Pod: Pod{
			ID: podID("aaaa1"), Namespace: "prod", Name: "web", UID: "u1", State: Ready,
			Labels: map[string]string{LabelPodNamespace: "prod", LabelPodName: "web", LabelPodUID: "u1", "app": "web", "io.kubernetes.container.name": "POD"},
		},
		Containers: []Container{app},
		Sandbox: Sandbox{
			PID: 100, UsersKnown: true, Network: ModePod, ProcessIDs: ModeContainer, IPC: ModePod, Users: UserNamespace{Mode: ModeNode},
			LogDirectory: "/var/log/pods/prod_web_u1", CgroupParent: "/kubepods/burstable/podu1",
		},
		Target: &Target{Container: app, PID: 200, SecurityKnown: true, Security: Security{RunAsUser: num(0), Seccomp: SecurityProfile{Type: "RuntimeDefault"}}},
		Image:  Image{Ref: "busybox:1.36", ID: "sha256:0a"},
	}
}

func goodRequest() Request {
	return Request{Spec: *goodSpec(), Mark: Mark{Session: "s1", Owner: "jane", Target: "app", Keeper: "k", Expires: time.Unix(0, 0)}}
}

func mustPlan(t *testing.T, f *Facts, r Request) *Plan {
	t.Helper()
	p, err := NewPlan(f, r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPlanOfAnOrdinaryPod is the whole plan, so that nothing creeps in.
func TestPlanOfAnOrdinaryPod(t *testing.T) {
	f, r := goodFacts(), goodRequest()
	f.Native, f.Node.HugepageSizes, f.Node.SELinux = "native", []string{"2MB"}, true
	f.Files = KubeletFiles{EtcHosts: "/k/etc-hosts", TerminationLog: "/k/containers/porthole-x/0a"}
	f.Target.Mounts = []Mount{{HostPath: "/data", ContainerPath: "/data"}}
	r.Spec.Command, r.Spec.Args = []string{"sh", "-c"}, []string{"echo $(A) $(B) $$(A)"}
	r.Spec.Env = []corev1.EnvVar{{Name: "A", Value: "1"}}
	r.Spec.Stdin, r.Spec.StdinOnce, r.Spec.WorkingDir = true, true, "/tmp"
	want := &Plan{
		Name: "porthole-x", Pod: f.Pod, Image: f.Image,
		Command: []string{"sh", "-c"}, Args: []string{"echo 1 $(B) $(A)"}, WorkingDir: "/tmp", Env: []EnvVar{{"A", "1"}},
		Mounts: []Mount{
			{HostPath: "/k/etc-hosts", ContainerPath: "/etc/hosts", Relabel: true},
			{HostPath: "/k/containers/porthole-x/0a", ContainerPath: "/dev/termination-log", Relabel: true},
		},
		Labels: map[string]string{
			LabelPodName: "web", LabelPodNamespace: "prod", LabelPodUID: "u1", LabelContainerName: "porthole-x",
			LabelSession: "s1", LabelOwner: "jane", LabelTarget: "app", LabelKeeper: "k", LabelExpires: "1970-01-01T00:00:00Z",
		},
		Annotations: map[string]string{
			annotationHash: containerHash("porthole-x", "busybox:1.36"), annotationRestarts: "0", annotationTermPath: "/dev/termination-log",
			annotationTermPolicy: "File", annotationGracePeriod: "30",
		},
		LogDirectory: "/var/log/pods/prod_web_u1", LogPath: "porthole-x/0.log", Stdin: true, StdinOnce: true,
		Namespaces: Namespaces{Network: ModePod, ProcessIDs: ModeTarget, IPC: ModePod, Users: UserNamespace{Mode: ModeNode}, TargetID: podID("1111a")},
		Security:   Security{RunAsUser: num(0), Seccomp: SecurityProfile{Type: "RuntimeDefault"}, MaskedPaths: maskedPaths, ReadonlyPaths: readonlyPaths},
		Resources:  Resources{CPUShares: 2, CPUPeriod: 100000, OOMScoreAdj: 999, Hugepages: []HugepageLimit{{Size: "2MB"}}},
		Native:     "native",
	}
	if got := mustPlan(t, f, r); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// Pure: the same again, and nothing of what it was made from has changed.
	if again := mustPlan(t, f, r); !reflect.DeepEqual(again, want) {
		t.Errorf("the second time %+v", again)
	}
}

// TARGET applies in pods whose containers have PID namespaces of their own;
// elsewhere kubelet ignores the target.
func TestPlanNamespaces(t *testing.T) {
	users := UserNamespace{Mode: ModePod, UIDs: []IDMap{{Host: 65536, Length: 65536}}, GIDs: []IDMap{{Host: 65536, Length: 65536}}}
	for _, c := range []struct {
		what   string
		change func(*Facts)
		want   Namespaces
	}{
		{"per container", func(*Facts) {}, Namespaces{ModePod, ModeTarget, ModePod, UserNamespace{Mode: ModeNode}, podID("1111a")}},
		{"no target", func(f *Facts) { f.Target = nil }, Namespaces{ModePod, ModeContainer, ModePod, UserNamespace{Mode: ModeNode}, ""}},
		{"shared", func(f *Facts) { f.Sandbox.ProcessIDs = ModePod }, Namespaces{ModePod, ModePod, ModePod, UserNamespace{Mode: ModeNode}, ""}},
		{"hostPID", func(f *Facts) { f.Sandbox.ProcessIDs = ModeNode }, Namespaces{ModePod, ModeNode, ModePod, UserNamespace{Mode: ModeNode}, ""}},
		{"shared, target dead", func(f *Facts) { f.Sandbox.ProcessIDs, f.Target.State = ModePod, Exited }, Namespaces{ModePod, ModePod, ModePod, UserNamespace{Mode: ModeNode}, ""}},
		{"host's", func(f *Facts) { f.Sandbox.Network, f.Sandbox.IPC = ModeNode, ModeNode }, Namespaces{ModeNode, ModeTarget, ModeNode, UserNamespace{Mode: ModeNode}, podID("1111a")}},
		{"hostUsers: false", func(f *Facts) { f.Sandbox.Users = users }, Namespaces{ModePod, ModeTarget, ModePod, users, podID("1111a")}},
		{"users not said", func(f *Facts) { f.Sandbox.Users = UserNamespace{} }, Namespaces{ModePod, ModeTarget, ModePod, UserNamespace{}, podID("1111a")}},
	} {
		f := goodFacts()
		c.change(f)
		if got := mustPlan(t, f, goodRequest()).Namespaces; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.what, got, c.want)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(*Facts, *Request)
		is     func(error) bool
		says   []string
	}{
		{"sandbox dead", func(f *Facts, _ *Request) { f.Pod.State = NotReady }, errdefs.IsFailedPrecondition, []string{"pod prod/web", "not ready"}},
		{"no name label", func(f *Facts, _ *Request) { delete(f.Pod.Labels, LabelPodName) }, errdefs.IsFailedPrecondition, []string{LabelPodName, "kubelet would kill"}},
		{"no namespace label", func(f *Facts, _ *Request) { delete(f.Pod.Labels, LabelPodNamespace) }, errdefs.IsFailedPrecondition, []string{LabelPodNamespace}},
		{"no uid label", func(f *Facts, _ *Request) { delete(f.Pod.Labels, LabelPodUID) }, errdefs.IsFailedPrecondition, []string{LabelPodUID}},
		{"no labels", func(f *Facts, _ *Request) { f.Pod.Labels = nil }, errdefs.IsFailedPrecondition, []string{"io.kubernetes.pod."}},
		{"no log directory", func(f *Facts, _ *Request) { f.Sandbox.LogDirectory = "" }, errdefs.IsFailedPrecondition, []string{"log directory"}},
		{"target exited", func(f *Facts, _ *Request) { f.Target.State = Exited }, errdefs.IsFailedPrecondition, []string{`invalid target container "app"`, "is not running - in state CONTAINER_EXITED", "--target="}},
		{"target created", func(f *Facts, _ *Request) { f.Target.State = Created }, errdefs.IsFailedPrecondition, []string{"CONTAINER_CREATED"}},
		{"name taken", func(_ *Facts, r *Request) { r.Spec.Name = "app" }, errdefs.IsInvalidArgument, []string{"Duplicate value"}},
		{"image root", func(_ *Facts, r *Request) { _ = ephemeral.ApplyProfile(&r.Spec, "restricted") }, errdefs.IsFailedPrecondition, []string{"image will run as root"}},
	} {
		f, r := goodFacts(), goodRequest()
		c.change(f, &r)
		p, err := NewPlan(f, r)
		if p != nil || !c.is(err) {
			t.Errorf("%s: %v, %v: not of the class wanted", c.what, p, err)
			continue
		}
		for _, want := range c.says {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", c.what, err, want)
			}
		}
	}
}

// What kubelet or the CLI would not ask for stays out of the labels, and the
// session's cannot replace kubelet's.
func TestPlanLabels(t *testing.T) {
	f, r := goodFacts(), goodRequest()
	r.Mark = Mark{Session: "s1"}
	want := map[string]string{
		LabelPodName: "web", LabelPodNamespace: "prod", LabelPodUID: "u1", LabelContainerName: "porthole-x", LabelSession: "s1",
	}
	if got := mustPlan(t, f, r).Labels; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
