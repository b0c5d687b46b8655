package node

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/test/testenv"
)

// strictly begins the line that names what was read strictly.
const strictly = "What the pod's spec says of security is not known here"

// What /proc/PID/status says of a process without and with a seccomp filter.
const unfiltered, filtered = "0", "2"

// TestPodFactsUnknown: no kubelet runs on these nodes, so that nobody tells the
// pod's spec. That is said once, and what it could say is read strictly.
func TestPodFactsUnknown(t *testing.T) {
	each(t, func(e *env) {
		uid := int64(1000)
		p := e.pod(testenv.PodSpec{Name: "unknown", Containers: []testenv.ContainerSpec{
			{Name: "open"},
			{Name: "shut", Edit: func(c *runtimeapi.ContainerConfig) {
				c.Linux.SecurityContext.Seccomp.ProfileType = runtimeapi.SecurityProfile_RuntimeDefault
			}},
			{Name: "user", RunAsUser: &uid},
		}})
		for _, tc := range []struct {
			target       string
			strict, root int
		}{{"open", 1, 0}, {"shut", 0, 0}, {"user", 1, 1}} {
			c, release := e.held("--verbose", "debug", p.Name, "--image="+testenv.ImageBusybox, "-i", "--target="+tc.target, "--", "cat")
			if got := e.statusOf(e.opened().pid, "Seccomp"); got != filtered {
				e.Errorf("target %s: seccomp mode %s, want the runtime's filter", tc.target, got)
			}
			release()
			r := c.ended(0)
			if n := strings.Count(r.stderr, strictly+"; read strictly: seccomp RuntimeDefault"); n != tc.strict {
				e.Errorf("target %s: %d lines of what is read strictly, want %d: %s", tc.target, n, tc.strict, r)
			}
			// That a container runs as root proves that it may.
			if n := strings.Count(r.stderr, "Warning: whether the pod forbids containers that run as root (runAsNonRoot) is not known"); n != tc.root {
				e.Errorf("target %s: %d warnings of root, want %d: %s", tc.target, n, tc.root, r)
			}
			for _, line := range []string{"pod spec: only the runtime tells of it: ", "kubelet root: " + e.node.KubeletRoot() + " (target: "} {
				if strings.Count(r.stderr, line) != 1 {
					e.Errorf("target %s: --verbose does not say %q: %s", tc.target, line, r)
				}
			}
			e.plain(r.stderr)
		}
	})
}

// static runs a static pod as kubelet names them, and writes its manifest. It
// returns the pod and the directory of manifests.
func (e *env) static(name, podFields, containerFields string, app testenv.ContainerSpec) (*testenv.Pod, string) {
	e.Helper()
	app.Name = "app"
	p := e.pod(testenv.PodSpec{
		Name: name + "-node-1", UID: strings.Repeat("0123456789abcdef", 2),
		Annotations: map[string]string{"kubernetes.io/config.source": "file", "kubernetes.io/config.hash": strings.Repeat("0123456789abcdef", 2)},
		Containers:  []testenv.ContainerSpec{app},
	})
	manifest := e.file(name+".yaml", fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {tier: front}}
spec:
%s
  containers:
  - name: app
    image: %s
%s
`, name, podFields, testenv.ImageApp, containerFields))
	return p, filepath.Dir(manifest)
}

// TestStaticPod: the manifest tells the pod's spec, and with it what kubelet
// would make of the same ephemeral container.
func TestStaticPod(t *testing.T) {
	each(t, func(e *env) {
		p, manifests := e.static("web", `
  securityContext: {runAsUser: 1000, runAsGroup: 3000, supplementalGroups: [7], seccompProfile: {type: Unconfined}}
  volumes: [{name: data, emptyDir: {}}]`, `
    resources: {limits: {memory: 96Mi}}
    volumeMounts: [{name: data, mountPath: /data}]`, testenv.ContainerSpec{Mounts: []testenv.Mount{{Volume: "data", Path: "/data"}}})
		spec := e.file("spec.yaml", `
name: dbg
image: `+testenv.ImageBusybox+`
targetContainerName: app
stdin: true
command: [sh, -c, 'echo $(TIER) $(LIMIT) $(POD); id -u; id -g; id -G; echo x > /mnt/f; touch /ro/g 2>&1 | grep -c Read-only; ls /ro; read end']
volumeMounts: [{name: data, mountPath: /mnt}, {name: data, mountPath: /ro, readOnly: true}]
env:
- {name: TIER, valueFrom: {fieldRef: {fieldPath: "metadata.labels['tier']"}}}
- {name: LIMIT, valueFrom: {resourceFieldRef: {containerName: app, resource: limits.memory, divisor: 1Mi}}}
- {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
`)
		c := e.command("--verbose", "debug", p.Name, "-f", spec).with("PORTHOLE_STATIC_POD_PATH=" + manifests)
		in, err := c.cmd.StdinPipe()
		if err != nil {
			e.Fatal(err)
		}
		c.start()
		want := "front 96 web-node-1\n1000\n3000\n3000 7\n1\nf\n"
		c.await(c.stdout, want)
		if got := e.statusOf(e.opened().pid, "Seccomp"); got != unfiltered {
			e.Errorf("seccomp mode %s, and the pod is Unconfined", got)
		}
		_ = in.Close()
		r := c.wait()
		if r.stdout != want || strings.Contains(r.stderr, strictly) || !strings.Contains(r.stderr, "pod spec: static pod manifest "+manifests+"/web.yaml\n") {
			e.Errorf("%s; want %q", r, want)
		}
		r = e.command("debug", p.Name, "-f", e.file("bad.yaml", "name: bad\nimage: x\nvolumeMounts: [{name: none, mountPath: /x}]\n")).with("PORTHOLE_STATIC_POD_PATH=" + manifests).start().wait()
		e.refused(r, "a volume that the pod does not have", `spec.ephemeralContainers[0].volumeMounts[0].name: Not found: "none"`)
		// A manifest that cannot be this pod's is not believed.
		other, file := e.TempDir(), "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: another, image: x}]}\n"
		for _, dir := range []string{other, filepath.Dir(e.file("web.yaml", file))} {
			r = e.command(append([]string{"--verbose"}, debug(p, "--", "sh", "-c", "id -u")...)...).with("PORTHOLE_STATIC_POD_PATH=" + dir).start().wait()
			if r.code != 0 || r.stdout != "0\n" || !strings.Contains(r.stderr, "pod spec: only the runtime tells of it: ") || !strings.Contains(r.stderr, dir) {
				e.Errorf("manifests in %s: %s; want none to be believed", dir, r)
			}
		}
	})
}

// TestStaticPodNonRoot: kubelet's own refusal, which no runtime makes.
func TestStaticPodNonRoot(t *testing.T) {
	each(t, func(e *env) {
		uid := int64(1000)
		p, manifests := e.static("safe", "  securityContext: {runAsNonRoot: true}", "    securityContext: {runAsUser: 1000}", testenv.ContainerSpec{RunAsUser: &uid})
		run := func(rest ...string) result {
			return e.command(debug(p, rest...)...).with("PORTHOLE_STATIC_POD_PATH=" + manifests).start().wait()
		}
		e.refused(run("--", "true"), "root by its image", "container has runAsNonRoot and image will run as root")
		e.refused(run("--user=0", "--", "true"), "root", "container's runAsUser breaks non-root policy")
		e.refused(run("--user=app", "--", "true"), "a name", "runAsNonRoot and non-numeric user (app)")
		if r := run("--user=1000", "--", "id", "-u"); r.code != 0 || r.stdout != "1000\n" {
			e.Errorf("as somebody: %s", r)
		}
	})
}
