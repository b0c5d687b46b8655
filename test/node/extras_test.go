package node

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/test/testenv"
)

// sh runs a script in a debug container.
func (e *env) sh(p *testenv.Pod, script string, flags ...string) result {
	e.Helper()
	return e.run(append(debug(p, flags...), "--", "sh", "-c", script)...)
}

// TestShareVolumes: the target's mounts at the same paths, and its environment
// without what would make a shell or loader run the target's code.
func TestShareVolumes(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "share", Containers: []testenv.ContainerSpec{{
			Name: "app", Mounts: []testenv.Mount{{Volume: "data", Path: "/data"}, {Volume: "ro", Path: "/ro", ReadOnly: true}},
			Env: []testenv.Env{
				{Name: "DB_HOST", Value: "db.local"}, {Name: "LD_PRELOAD", Value: "/evil.so"}, {Name: "BASH_ENV", Value: "/evil"}, {Name: "PATH", Value: "/nowhere"},
			},
		}}})
		write := "echo x > /data/f; echo $?; cat /data/f; touch /ro/f 2>&1 | grep -c Read-only"
		if r := e.sh(p, write, "--share-volumes"); r.stdout != "0\nx\n1\n" {
			e.Errorf("--share-volumes: %s", r)
		}
		if r := e.sh(p, "cat /data/f; touch /data/g 2>&1 | grep -c Read-only", "--share-volumes=ro"); r.stdout != "x\n1\n" {
			e.Errorf("--share-volumes=ro: %s", r)
		}
		if r := e.run(debug(p, "--", "ls", "/data")...); r.code == 0 {
			e.Errorf("without the flag: %s", r)
		}
		e.refused(e.run(debug(p, "--share-volumes", "--target=", "--", "true")...), "nothing to share", "no target whose volumes")
		r := e.run("debug", p.Name, "--image="+testenv.ImageBusybox, "--copy-env", "--env=MINE=1", "--", "env")
		for text, want := range map[string]bool{"DB_HOST=db.local\n": true, "MINE=1\n": true, "LD_PRELOAD": false, "BASH_ENV": false, "/nowhere": false, "PATH=/": true} {
			if strings.Contains(r.stdout, text) != want {
				e.Errorf("--copy-env: %q is there: %v; %s", text, !want, r)
			}
		}
		if !strings.Contains(r.stderr, "BASH_ENV, LD_PRELOAD") {
			e.Errorf("--copy-env does not say what it left out: %s", r)
		}
	})
}

// TestCaps reads the limits in the cgroup, and sees them hold.
func TestCaps(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "caps"})
		c, release := e.held(debug(p, "-i", "--memory=64Mi", "--cpus=0.25", "--pids-limit=15", "--oom-score-adj=1000", "--", "cat")...)
		pid := e.opened().pid
		for file, want := range map[string]string{
			"memory/memory.limit_in_bytes": strconv.Itoa(64 << 20), "cpu/cpu.cfs_quota_us": "25000", "cpu/cpu.cfs_period_us": "100000", "pids/pids.max": "15",
		} {
			if got := e.cgroupFile(pid, file); got != want {
				e.Errorf("%s is %q, want %q", file, got, want)
			}
		}
		if got := strings.TrimSpace(e.proc(pid, "oom_score_adj")); got != "1000" {
			e.Errorf("oom_score_adj %q", got)
		}
		release()
		c.ended(0)
		// The cap is written right after the start.
		if r := e.sh(p, "sleep 1; for i in $$(seq 40); do sleep 5 & done; echo not reached", "--pids-limit=15"); strings.Contains(r.stdout, "not reached") || !strings.Contains(r.stderr, "can't fork") {
			e.Errorf("--pids-limit: %s", r)
		}
		if r := e.run("debug", p.Name, "--image="+testenv.ImageBusybox, "--memory=16Mi", "--entrypoint=tail", "--", "/dev/zero"); r.code != 137 || !strings.Contains(r.stderr, "out of memory") {
			e.Errorf("--memory: %s", r)
		}
		e.refused(e.run(debug(p, "--memory=64m", "--", "true")...), "memory", `--memory "64m"`, "64Mi")
		e.refused(e.run(debug(p, "--cpus=none", "--", "true")...), "cpus", `--cpus "none"`)
		e.refused(e.run(debug(p, "--pids-limit=0", "--", "true")...), "pids", "--pids-limit 0")
	})
}

// cgroupFile reads a file of the process's cgroup (v1).
func (e *env) cgroupFile(pid int, file string) string {
	e.Helper()
	controller, name, _ := strings.Cut(file, "/")
	for line := range strings.Lines(e.proc(pid, "cgroup")) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		for c := range strings.SplitSeq(parts[1], ",") {
			if c != controller {
				continue
			}
			text, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", controller, parts[2], name))
			if err != nil {
				e.Fatal(err)
			}
			return strings.TrimSpace(string(text))
		}
	}
	e.Fatalf("process %d has no cgroup of %s", pid, controller)
	return ""
}

// TestAsTarget: what the kernel says of the two processes is the same.
func TestAsTarget(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "twin", Containers: []testenv.ContainerSpec{{Name: "app", Edit: func(c *runtimeapi.ContainerConfig) {
			sc := c.GetLinux().GetSecurityContext()
			sc.RunAsUser, sc.RunAsGroup = &runtimeapi.Int64Value{Value: 1000}, &runtimeapi.Int64Value{Value: 1000}
			sc.Capabilities = &runtimeapi.Capability{DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"NET_BIND_SERVICE"}}
			sc.NoNewPrivs, sc.ReadonlyRootfs = true, true
			sc.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
		}}}})
		c, release := e.held("debug", p.Name, "--image="+testenv.ImageBusybox, "-i", "--as-target", "--", "cat")
		pid, target := e.opened().pid, p.Containers["app"].PID
		for _, key := range []string{"Uid", "Gid", "CapBnd", "CapEff", "CapPrm", "CapInh", "NoNewPrivs", "Seccomp"} {
			if got, want := e.statusOf(pid, key), e.statusOf(target, key); got != want {
				e.Errorf("%s: %q, the target's is %q", key, got, want)
			}
		}
		release()
		if r := c.ended(0); !strings.Contains(r.stderr, "the target can read and change this session") {
			e.Errorf("no warning: %s", r)
		}
		if r := e.run(debug(p, "--as-target", "--", "touch", "/x")...); !strings.Contains(r.stderr, "Read-only") {
			e.Errorf("the root file system can be written: %s", r)
		}
	})
}

// TestAsTargetOfAnOpenOne: nor is it safer than the target.
func TestAsTargetOfAnOpenOne(t *testing.T) {
	each(t, func(e *env) {
		open := testenv.ContainerSpec{Name: "app", Edit: func(c *runtimeapi.ContainerConfig) {
			c.GetLinux().GetSecurityContext().Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"SYS_TIME"}, DropCapabilities: []string{"CHOWN"}}
		}}
		for _, spec := range []testenv.PodSpec{{Name: "open", Containers: []testenv.ContainerSpec{open}}, {Name: "privileged", Privileged: true}} {
			p := e.pod(spec)
			c, release := e.held(debug(p, "-i", "--as-target", "--", "cat")...)
			pid, target := e.opened().pid, p.Containers["app"].PID
			for _, key := range []string{"Uid", "Gid", "CapBnd", "CapEff", "NoNewPrivs", "Seccomp"} {
				if got, want := e.statusOf(pid, key), e.statusOf(target, key); got != want {
					e.Errorf("%s: %s: %q, the target's is %q", p.Name, key, got, want)
				}
			}
			release()
			c.ended(0)
		}
	})
}

// TestStorageLimit: who writes more than allowed is ended.
func TestStorageLimit(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "storage"})
		r := e.sh(p, "head -c 6000000 /dev/zero | tr '\\0' x | fold -w 1000; sleep 1000", "--storage-limit=2Mi")
		if r.code != 125 || !strings.Contains(r.stderr, "--storage-limit") || len(r.stdout) < 6000000 {
			e.Errorf("%d bytes of output, %s", len(r.stdout), r)
		}
	})
}
