package node

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/porthole-project/porthole/test/testenv"
)

// sleeper is a container that keeps running.
func sleeper(name string) testenv.ContainerSpec {
	return testenv.ContainerSpec{Name: name, Image: testenv.ImageBusybox, Command: []string{"sleep", "100000"}}
}

func TestDefaultTarget(t *testing.T) {
	each(t, func(e *env) {
		two := []testenv.ContainerSpec{sleeper("first"), sleeper("second")}
		one := e.pod(testenv.PodSpec{Name: "one", Containers: two[1:]})
		both := e.pod(testenv.PodSpec{Name: "both", Containers: two})
		marked := e.pod(testenv.PodSpec{Name: "marked", Containers: two, Annotations: map[string]string{"kubectl.kubernetes.io/default-container": "second"}})
		half := e.pod(testenv.PodSpec{Name: "half", Containers: two})
		e.changes(half)
		if err := half.StopContainer(e.Context(), "first"); err != nil {
			e.Fatal(err)
		}
		for _, tc := range []struct {
			pod   *testenv.Pod
			flags []string
			want  string
			says  string
		}{
			{one, nil, "second", `"second", the only one running`},
			{both, nil, "first", `"first", the first of first, second; --target names another`},
			{marked, nil, "second", `"second" (the pod's annotation kubectl.kubernetes.io/default-container)`},
			{half, nil, "second", `"second", the only one running`},
			{both, []string{"--target=second"}, "second", ""},
			{marked, []string{"--target", "first"}, "first", ""},
		} {
			args := append([]string{"debug", tc.pod.Name, "--image=" + testenv.ImageBusybox, "-i"}, tc.flags...)
			c, release := e.held(append(args, "--", "cat")...)
			if got, want := e.namespaceOf(e.opened().pid, "pid"), e.namespaceOf(tc.pod.Containers[tc.want].PID, "pid"); got != want {
				e.Errorf("pod %s %q: pid namespace %s, want %s's %s", tc.pod.Name, tc.flags, got, tc.want, want)
			}
			release()
			r := c.ended(0)
			// No kubelet tells the pod's spec here.
			r.stderr = regexp.MustCompile(`(?m)^What the pod's spec says of security is not known here.*\n`).ReplaceAllString(r.stderr, "")
			if tc.says == "" && r.stderr != "" || !strings.Contains(r.stderr, tc.says) || strings.Count(r.stderr, "\n") > 1 {
				e.Errorf("pod %s %q: stderr %q, want %q", tc.pod.Name, tc.flags, r.stderr, tc.says)
			}
		}
	})
}

// held starts a session that reads its input, and returns once it runs. release
// ends the input.
func (e *env) held(args ...string) (c *command, release func()) {
	e.Helper()
	c = e.command(args...)
	in, err := c.cmd.StdinPipe()
	if err != nil {
		e.Fatal(err)
	}
	c.start()
	if _, err := fmt.Fprintln(in, "held"); err != nil {
		e.Fatal(err)
	}
	c.await(c.stdout, "held\n")
	return c, func() { _ = in.Close() }
}

// kinds are the namespaces that are compared.
var kinds = []string{"pid", "net", "ipc", "uts", "user", "mnt"}

// TestNamespaces compares the debug process's namespaces with the pod's, from
// outside.
func TestNamespaces(t *testing.T) {
	const target, sandbox, own = "target", "sandbox", "own"
	for _, tc := range []struct {
		spec  testenv.PodSpec
		flags []string
		pid   string // whose pid namespace it is
		ps    string // ps's verdict begins so
	}{
		{testenv.PodSpec{Name: "plain"}, nil, target, "verified: ipc, net, pid, user, uts"},
		{testenv.PodSpec{Name: "noneed"}, []string{"--target="}, own, "verified: ipc, net, user, uts"},
		{testenv.PodSpec{Name: "host", HostNetwork: true, HostPID: true, HostIPC: true}, nil, target, "verified: ipc, net, user, uts"},
		{testenv.PodSpec{Name: "hostnet", HostNetwork: true}, nil, target, "verified: ipc, net, pid, user, uts"},
		{testenv.PodSpec{Name: "shared", ShareProcessNamespace: true}, nil, sandbox, "verified: ipc, net, user, uts"},
		{testenv.PodSpec{Name: "users", UserNS: true}, nil, target, "verified: ipc, net, pid, user, uts"},
		{testenv.PodSpec{Name: "usersown", UserNS: true}, []string{"--target="}, own, "verified: ipc, net, user, uts"},
	} {
		t.Run(tc.spec.Name, func(t *testing.T) {
			each(t, func(e *env) {
				if tc.spec.UserNS && e.node.Version() == testenv.V16 {
					e.Skip("containerd 1.6 has no user namespaces")
				}
				p := e.pod(tc.spec)
				app := p.Containers["app"].PID
				c := e.session(p, tc.flags...)
				pid := e.opened().pid
				wantPID := map[string]string{target: e.namespaceOf(app, "pid"), sandbox: e.namespaceOf(e.sandboxPID(p), "pid")}[tc.pid]
				for _, kind := range kinds {
					got, apps := e.namespaceOf(pid, kind), e.namespaceOf(app, kind)
					switch {
					case kind == "mnt" || kind == "pid" && tc.pid == own:
						if got == apps {
							e.Errorf("%s namespace is the target's", kind)
						}
					case kind == "pid":
						if got != wantPID {
							e.Errorf("pid namespace is %s, want the %s's %s", got, tc.pid, wantPID)
						}
					case got != apps:
						e.Errorf("%s namespace is %s, want the target's %s", kind, got, apps)
					}
				}
				for _, file := range []string{"uid_map", "gid_map"} {
					if got, want := e.proc(pid, file), e.proc(app, file); got != want {
						e.Errorf("%s is %q, want the target's %q", file, got, want)
					}
				}
				if s := e.sessions(); len(s) != 1 || s[0].Verification != tc.ps {
					e.Errorf("ps says %+v, want %q", s, tc.ps)
				}
				c.signal(syscall.SIGTERM)
				c.ended(143)
			})
		})
	}
}

// TestSeesTheTarget does what people open a pod for.
func TestSeesTheTarget(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "see", Containers: []testenv.ContainerSpec{{
			Name: "app", Env: []testenv.Env{{Name: "SECRET", Value: "in-the-environment"}}, Mounts: []testenv.Mount{{Volume: "data", Path: "/data"}},
		}}})
		for script, want := range map[string]string{
			`tr '\0' '\n' < /proc/1/environ | grep SECRET`:                   "SECRET=in-the-environment\n",
			`ls -d /proc/1/root/app /proc/1/root/data`:                       "/proc/1/root/app\n/proc/1/root/data\n",
			`wget -qO- http://127.0.0.1:8080/`:                               "hello\n",
			`hostname`:                                                       "see\n",
			`grep -c Kubernetes-managed /etc/hosts`:                          "1\n",
			`echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT $SECRET`: "10.96.0.1:443\n",
			`echo bye > /dev/termination-log; cat /dev/termination-log`:      "bye\n",
			`kill -0 1 && echo reachable`:                                    "reachable\n",
		} {
			if r := e.run(shell(p, script)...); r.stdout != want {
				e.Errorf("%s: %s; want %q", script, r, want)
			}
		}
	})
}

// capability reports whether a process has one, by its number.
func (e *env) capability(pid, bit int) bool {
	e.Helper()
	var set uint64
	if _, err := fmt.Sscanf(e.statusOf(pid, "CapEff"), "%x", &set); err != nil {
		e.Fatal(err)
	}
	return set>>bit&1 == 1
}

func TestProfiles(t *testing.T) {
	const netAdmin, sysPtrace, sysAdmin = 12, 19, 21
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "profiles"})
		for _, tc := range []struct {
			profile string
			caps    map[int]bool
			uid     string
		}{
			{"general", map[int]bool{sysPtrace: true, sysAdmin: false, netAdmin: false}, "0"},
			{"baseline", map[int]bool{sysPtrace: false, sysAdmin: false}, "0"},
			{"netadmin", map[int]bool{netAdmin: true, sysPtrace: false}, "0"},
			{"sysadmin", map[int]bool{netAdmin: true, sysPtrace: true, sysAdmin: true}, "0"},
		} {
			c := e.session(p, "--profile="+tc.profile)
			d := e.opened()
			for bit, want := range tc.caps {
				if got := e.capability(d.pid, bit); got != want {
					e.Errorf("%s: capability %d: %t, want %t", tc.profile, bit, got, want)
				}
			}
			if got := strings.Fields(e.statusOf(d.pid, "Uid"))[0]; got != tc.uid {
				e.Errorf("%s: uid %s, want %s", tc.profile, got, tc.uid)
			}
			// What privileged means to the runtime: nothing is masked.
			if masked, privileged := len(d.info.RuntimeSpec.Linux.MaskedPaths) > 0, tc.profile == "sysadmin"; masked == privileged {
				e.Errorf("%s: masked paths %q", tc.profile, d.info.RuntimeSpec.Linux.MaskedPaths)
			}
			c.signal(syscall.SIGTERM)
			c.ended(143)
		}
		// Kubelet checks runAsNonRoot, no runtime does: busybox runs as root.
		e.refused(e.run(debug(p, "--profile=restricted", "--", "id")...), "restricted", "runAsNonRoot", "image will run as root")
	})
}
