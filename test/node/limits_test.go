package node

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/test/testenv"
)

// TestOOMScore: a score may be raised, so that the debugger dies first, and is
// never lower than what kubelet gives.
func TestOOMScore(t *testing.T) {
	each(t, func(e *env) {
		scored := func(score int64) testenv.ContainerSpec {
			return testenv.ContainerSpec{Name: "app", Edit: func(c *runtimeapi.ContainerConfig) { c.Linux.Resources.OomScoreAdj = score }}
		}
		guaranteed := e.pod(testenv.PodSpec{Name: "guaranteed", Containers: []testenv.ContainerSpec{scored(-997)}})
		burstable := e.pod(testenv.PodSpec{Name: "burstable", Containers: []testenv.ContainerSpec{scored(600)}})
		// A test node may not lower a score below its own; then both are equal.
		lowest := strings.TrimSpace(e.proc(guaranteed.Containers["app"].PID, "oom_score_adj"))
		for _, tc := range []struct {
			pod  *testenv.Pod
			flag string
			want string
		}{
			{guaranteed, "", lowest},
			{guaranteed, "--oom-score-adj=321", "321"},
			{guaranteed, "--oom-score-adj=-1000", lowest},
			{burstable, "", "999"},
			{burstable, "--oom-score-adj=321", "999"},
			{burstable, "--oom-score-adj=1000", "1000"},
		} {
			flags := []string{"--", "cat", "/proc/self/oom_score_adj"}
			if tc.flag != "" {
				flags = append([]string{tc.flag}, flags...)
			}
			if r := e.run(debug(tc.pod, flags...)...); r.code != 0 || r.stdout != tc.want+"\n" {
				e.Errorf("pod %s, %q: %s; want %s", tc.pod.Name, tc.flag, r, tc.want)
			}
		}
		e.refused(e.run(debug(burstable, "--oom-score-adj=1001", "--", "true")...), "too high", "--oom-score-adj 1001")
	})
}

// TestMemoryOfAChild: the kernel kills the process that takes too much, and
// neither the command that started it nor anything of the pod.
func TestMemoryOfAChild(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "greedy"})
		// Without the limit there is nothing that it would try.
		script := "limit=$$(cat /sys/fs/cgroup/memory/memory.limit_in_bytes); [ $$limit -eq 25165824 ] || exit 99; tail /dev/zero 2>/dev/null; echo $$?"
		r := e.run(debug(p, "--memory=24Mi", "--", "sh", "-c", script)...)
		if r.code != 0 || r.stdout != "137\n" {
			e.Errorf("%s; want the child to be killed", r)
		}
	})
}

// TestCapsOfAnUnattended: the caps that no request carries hold also for who is
// left alone; the one that somebody must watch is refused.
func TestCapsOfAnUnattended(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "leftcaps"})
		r := e.run(debug(p, "--attach=false", "--pids-limit=9", "--memory=32Mi", "--cpus=500m", "--", "sleep", "1000")...)
		if r.code != 0 {
			e.Fatal(r)
		}
		pid := e.opened().pid
		for file, want := range map[string]string{"pids/pids.max": "9", "memory/memory.limit_in_bytes": fmt.Sprint(32 << 20), "cpu/cpu.cfs_quota_us": "50000"} {
			if got := e.cgroupFile(pid, file); got != want {
				e.Errorf("%s is %q, want %q", file, got, want)
			}
		}
		if r := e.run("gc", "--all", "--yes"); r.code != 0 {
			e.Error(r)
		}
		e.refused(e.run(debug(p, "--attach=false", "--storage-limit=2Mi", "--", "sleep", "1000")...), "a limit that nobody watches", "--storage-limit")
	})
}

// TestStorageLimitOfFiles has a session write files instead of output. The
// runtime looks at them every ten seconds, Porthole every five.
func TestStorageLimitOfFiles(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "files"})
		began := time.Now()
		r := e.run(debug(p, "-c", "writer", "--storage-limit=4Mi", "--", "sh", "-c", "head -c 9000000 /dev/zero > /tmp/f; echo written; sleep 1000")...)
		if r.code != 125 || r.stdout != "written\n" || !strings.Contains(r.stderr, "porthole: the session has written more than --storage-limit allows (8 MiB of 4 MiB)") {
			e.Errorf("%s; want it to be ended", r)
		}
		if took := time.Since(began); took > 25*time.Second {
			e.Errorf("took %s", took)
		}
		e.plain(r.stderr)
		if got := e.inspected("writer"); got.State != "gone" || !strings.Contains(got.Cause, "--storage-limit") || got.Options["storage-limit"] != "4194304" {
			e.Errorf("the record: %+v", got)
		}
	})
}

// TestSharedMountsAreTheTargets: what is shared of the target has its paths,
// its owners and its limits; what is the container's own is not shared.
func TestSharedMountsAreTheTargets(t *testing.T) {
	each(t, func(e *env) {
		host := e.TempDir()
		if err := os.Chmod(filepath.Dir(host), 0o755); err != nil {
			e.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(host, "of-the-host"), []byte("host\n"), 0o644); err != nil {
			e.Fatal(err)
		}
		app := testenv.ContainerSpec{Name: "app", Mounts: []testenv.Mount{
			{Volume: "data", Path: "/deep/down/data"}, {HostPath: filepath.Join(host, "of-the-host"), Path: "/etc/one-file", ReadOnly: true},
		}, Edit: func(c *runtimeapi.ContainerConfig) {
			// Its own termination log, where nobody else's is.
			c.Mounts = append(c.Mounts, &runtimeapi.Mount{
				HostPath: c.Mounts[len(c.Mounts)-1].GetHostPath(), ContainerPath: "/last/words", UidMappings: c.Mounts[0].GetUidMappings(), GidMappings: c.Mounts[0].GetGidMappings(),
			})
		}}
		for _, users := range []bool{false, true} {
			if users && e.node.Version() == testenv.V16 {
				continue // it has no user namespaces
			}
			p := e.pod(testenv.PodSpec{Name: fmt.Sprintf("mounts-%t", users), UserNS: users, Containers: []testenv.ContainerSpec{app}})
			script := "cat /etc/one-file; echo x 2>/dev/null >> /etc/one-file || echo ro; echo mine > /deep/down/data/f; ls -ln /deep/down/data/f | awk '{print $$3, $$4}'; " +
				"echo bye > /dev/termination-log; grep -c Kubernetes /etc/hosts; test -e /last/words || echo own"
			if r := e.run(debug(p, "--share-volumes", "--", "sh", "-c", script)...); r.code != 0 || r.stdout != "host\nro\n0 0\n1\nown\n" {
				e.Errorf("users %t: %s", users, r)
			}
			// The volume itself has it; the target's termination log has nothing of it.
			if text, err := os.ReadFile(filepath.Join(p.VolumeDir("data"), "f")); err != nil || string(text) != "mine\n" {
				e.Errorf("users %t: the volume has %q, %v", users, text, err)
			}
			logs, err := filepath.Glob(filepath.Join(e.node.KubeletRoot(), "pods", p.UID, "containers", "app", "*"))
			if err != nil || len(logs) != 1 {
				e.Fatalf("the target's termination logs are %q, %v", logs, err)
			}
			if text, err := os.ReadFile(logs[0]); err != nil || len(text) > 0 {
				e.Errorf("users %t: the target's termination log has %q, %v", users, text, err)
			}
		}
	})
}

// TestCopiedEnvironmentIsExact compares byte by byte; what is declared wins.
func TestCopiedEnvironmentIsExact(t *testing.T) {
	each(t, func(e *env) {
		odd := map[string]string{"ODD": "a=b c\nd\t\"é$(HOSTNAME) $$ \\", "EMPTY": "", "with.dot-and": "1"}
		spec := testenv.ContainerSpec{Name: "app", Env: []testenv.Env{{Name: "TAKEN", Value: "theirs"}, {Name: "PYTHONPATH", Value: "/x"}, {Name: "GIT_SSH_COMMAND", Value: "x"}}}
		for name, value := range odd {
			spec.Env = append(spec.Env, testenv.Env{Name: name, Value: value})
		}
		p := e.pod(testenv.PodSpec{Name: "exact", Containers: []testenv.ContainerSpec{spec}})
		c, release := e.held(debug(p, "-i", "--copy-env", "--env=TAKEN=mine", "--env=SAME=$(EMPTY).", "--", "cat")...)
		environ := append([]byte{0}, e.proc(e.opened().pid, "environ")...)
		release()
		c.ended(0)
		odd["TAKEN"], odd["SAME"] = "mine", "."
		for name, value := range odd {
			if !bytes.Contains(environ, []byte("\x00"+name+"="+value+"\x00")) {
				e.Errorf("no %s=%q in %q", name, value, environ)
			}
		}
		for _, name := range []string{"PYTHONPATH", "GIT_SSH_COMMAND", "TAKEN=theirs"} {
			if bytes.Contains(environ, []byte("\x00"+name)) {
				e.Errorf("%s in %q", name, environ)
			}
		}
		// Without the flag nothing of it.
		if r := e.run(debug(p, "--", "env")...); strings.Contains(r.stdout, "TAKEN") || !strings.Contains(r.stdout, "KUBERNETES_SERVICE_HOST=10.96.0.1\n") {
			e.Errorf("without --copy-env: %s", r)
		}
		e.refused(e.run(debug(p, "--copy-env", "--target=", "--", "true")...), "no target", "no target whose environment")
	})
}
