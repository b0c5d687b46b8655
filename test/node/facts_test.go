package node

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/yaml"

	"github.com/porthole-project/porthole/test/testenv"
)

// TestContainerIsKubelets looks at what was created: kubelet must take it for
// one of the pod's, and the kernel must treat it as one.
func TestContainerIsKubelets(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "facts"})
		app := e.inspect(p.Containers["app"].ID)
		c := e.session(p, "-c", "my-name")
		d := e.opened()
		for key, want := range map[string]string{
			"io.kubernetes.pod.name":       p.Config.GetLabels()["io.kubernetes.pod.name"],
			"io.kubernetes.pod.namespace":  p.Config.GetLabels()["io.kubernetes.pod.namespace"],
			"io.kubernetes.pod.uid":        p.Config.GetLabels()["io.kubernetes.pod.uid"],
			"io.kubernetes.container.name": "my-name",
			"porthole.dev/target":          "app",
		} {
			if got := d.GetLabels()[key]; got != want || want == "" {
				e.Errorf("label %s is %q, want %q", key, got, want)
			}
		}
		if got := d.GetMetadata().GetName(); got != "my-name" {
			e.Errorf("name %q, want that of -c", got)
		}
		if got, want := d.GetLogPath(), filepath.Join(p.LogDir, "my-name", "0.log"); got != want {
			e.Errorf("log path %q, want %q", got, want)
		}
		if got := d.GetAnnotations()["io.kubernetes.container.restartCount"]; got != "0" {
			e.Errorf("restart count %q, want 0", got)
		}
		if got := d.GetAnnotations()["io.kubernetes.pod.terminationGracePeriod"]; got != "2" {
			e.Errorf("grace period %q, want the pod's", got)
		}
		own, apps := d.info.RuntimeSpec.Linux, app.info.RuntimeSpec.Linux
		if len(own.MaskedPaths) == 0 || !contains(own.MaskedPaths, apps.MaskedPaths) || !slices.Equal(own.ReadonlyPaths, apps.ReadonlyPaths) {
			e.Errorf("masked %q and read-only %q, want the target's %q and %q", own.MaskedPaths, own.ReadonlyPaths, apps.MaskedPaths, apps.ReadonlyPaths)
		}
		if got, want := filepath.Dir(own.CgroupsPath), p.Config.GetLinux().GetCgroupParent(); got != want {
			e.Errorf("cgroup parent %q, want %q", got, want)
		}
		if got, want := e.proc(d.pid, "cgroup"), e.node.Cgroup()+"/pod"+p.UID+"/"+d.GetId(); !strings.Contains(got, want) {
			e.Errorf("cgroups %q, want %q in each", got, want)
		}
		if got, want := e.proc(d.pid, "oom_score_adj"), e.proc(p.Containers["app"].PID, "oom_score_adj"); got != want {
			e.Errorf("OOM score %q, want the target's %q", got, want)
		}
		c.signal(syscall.SIGTERM)
		c.ended(143)
	})
}

func contains(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

// TestRequest reads the request on its way to the runtime.
func TestRequest(t *testing.T) {
	const node, pod, container, target = runtimeapi.NamespaceMode_NODE, runtimeapi.NamespaceMode_POD, runtimeapi.NamespaceMode_CONTAINER, runtimeapi.NamespaceMode_TARGET
	for _, tc := range []struct {
		spec  testenv.PodSpec
		flags []string
		pid   runtimeapi.NamespaceMode
	}{
		{testenv.PodSpec{Name: "plain"}, nil, target},
		{testenv.PodSpec{Name: "own"}, []string{"--target="}, container},
		// Kubelet ignores a target where the processes are shared anyway.
		{testenv.PodSpec{Name: "hostpid", HostPID: true}, []string{"--target=app"}, node},
		{testenv.PodSpec{Name: "shared", ShareProcessNamespace: true}, []string{"--target=app"}, pod},
		{testenv.PodSpec{Name: "users", UserNS: true}, nil, target},
		{testenv.PodSpec{Name: "privileged"}, []string{"--profile=sysadmin"}, target},
	} {
		t.Run(tc.spec.Name, func(t *testing.T) {
			each(t, func(e *env) {
				if tc.spec.UserNS && e.node.Version() == testenv.V16 {
					e.Skip("containerd 1.6 has no user namespaces")
				}
				p := e.pod(tc.spec)
				args := slices.Concat(tc.flags, []string{"-c", "same", "--env=A=b", "--", "echo", "$(A)"})
				proxied := e.proxy()
				if r := e.command(debug(p, args...)...).with("PORTHOLE_RUNTIME_ENDPOINT=" + proxied.endpoint).start().wait(); r.code != 0 || r.stdout != "b\n" {
					e.Fatal(r)
				}
				request := e.created(proxied)
				options := request.GetConfig().GetLinux().GetSecurityContext().GetNamespaceOptions()
				if options.GetPid() != tc.pid || (options.GetTargetId() == p.Containers["app"].ID) != (tc.pid == target) {
					e.Errorf("pid mode %s, target %q; want %s", options.GetPid(), options.GetTargetId(), tc.pid)
				}
				stored := p.Config.GetLinux().GetSecurityContext().GetNamespaceOptions()
				if e.node.Version() == testenv.V24 && !proto.Equal(options.GetUsernsOptions(), stored.GetUsernsOptions()) {
					e.Errorf("user namespace %v, want the sandbox's %v", options.GetUsernsOptions(), stored.GetUsernsOptions())
				}
				for _, m := range request.GetConfig().GetMounts() {
					if len(m.GetUidMappings()) != len(stored.GetUsernsOptions().GetUids()) || len(m.GetGidMappings()) != len(stored.GetUsernsOptions().GetGids()) {
						e.Errorf("mount %s has mappings %v", m.GetContainerPath(), m.GetUidMappings())
					}
				}
				if got, want := request.GetSandboxConfig().GetLinux().GetSecurityContext().GetPrivileged(), tc.spec.Name == "privileged"; got != want {
					e.Errorf("sandbox privileged: %t, want %t", got, want)
				}
				if request.GetConfig().GetImage().GetUserSpecifiedImage() != testenv.ImageBusybox || request.GetConfig().GetLogPath() != "same/0.log" || request.GetSandboxConfig().GetLogDirectory() != p.LogDir {
					e.Errorf("image %v, log %q in %q", request.GetConfig().GetImage(), request.GetConfig().GetLogPath(), request.GetSandboxConfig().GetLogDirectory())
				}
				e.dryRunIsSame(p, args, request)
			})
		})
	}
}

// dryRunIsSame compares what --dry-run prints with what was sent.
func (e *env) dryRunIsSame(p *testenv.Pod, args []string, sent *runtimeapi.CreateContainerRequest) {
	e.Helper()
	want := withoutChance(sent)
	proxied := e.proxy()
	state := "PORTHOLE_STATE_DIR=" + e.TempDir() // where the name was not used yet
	for _, format := range []string{"json", "yaml"} {
		r := e.command(debug(p, append([]string{"-q", "--dry-run", "-o", format}, args...)...)...).with("PORTHOLE_RUNTIME_ENDPOINT="+proxied.endpoint, state).start().wait()
		if r.code != 0 || r.stderr != "" {
			e.Fatalf("--dry-run -o %s: %s", format, r)
		}
		text := []byte(r.stdout)
		if format == "yaml" {
			var err error
			if text, err = yaml.YAMLToJSON(text); err != nil {
				e.Fatal(err)
			}
		}
		printed := &runtimeapi.CreateContainerRequest{}
		if err := json.Unmarshal(text, printed); err != nil {
			e.Fatalf("--dry-run -o %s: %v", format, err)
		}
		if got := withoutChance(printed); !proto.Equal(got, want) {
			e.Errorf("--dry-run -o %s says\n%v\nand sent was\n%v", format, got, want)
		}
	}
	for _, method := range proxied.methods {
		if !strings.HasPrefix(method, "List") && !strings.HasSuffix(method, "Status") && method != "Version" {
			e.Errorf("--dry-run calls %s", method)
		}
	}
}

// withoutChance blanks what differs between two runs.
func withoutChance(r *runtimeapi.CreateContainerRequest) *runtimeapi.CreateContainerRequest {
	r = proto.CloneOf(r)
	for _, key := range []string{"session", "keeper", "expires"} {
		if r.GetConfig().GetLabels()["porthole.dev/"+key] == "" {
			r.Config.Labels["no "+key] = "" // to be seen in the comparison
		}
		r.Config.Labels["porthole.dev/"+key] = "any"
	}
	for _, m := range r.GetConfig().GetMounts() {
		if m.GetContainerPath() == "/dev/termination-log" {
			m.HostPath = filepath.Dir(m.GetHostPath())
		}
	}
	return r
}
