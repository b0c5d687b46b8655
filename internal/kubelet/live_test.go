package kubelet

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// childEnv makes the test binary wait for the end of its input, so that it can
// play a kubelet.
const childEnv = "PORTHOLE_KUBELET_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		fmt.Println("ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	os.Exit(m.Run())
}

// TestLookLive looks at a real process, whose links in /proc are magic.
func TestLookLive(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"/opt/bin/kubelet", "--root-dir=" + builtinRoot}
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Dir = t.TempDir()
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	// In the middle of an exec the command line is empty for a moment.
	_, err = io.ReadFull(stdout, make([]byte, len("ready")))
	must(t, err)
	p, err := look("/proc", cmd.Process.Pid)
	if os.Getuid() != 0 {
		if err == nil || !strings.Contains(err.Error(), "not as root") {
			t.Errorf("a kubelet of this user: %+v, %v", p, err)
		}
		return
	}
	must(t, err)
	if p.name != "kubelet" || !p.near || p.cwd != cmd.Dir {
		t.Errorf("got %+v, want a near one in %s", p, cmd.Dir)
	}
	if root, said := p.flagPath(p.args, "root-dir"); !said || root != builtinRoot {
		t.Errorf("--root-dir = %q, %v", root, said)
	}
	// The test itself is no kubelet, and neither is who has ended.
	for _, pid := range []int{os.Getpid(), 1 << 30} {
		if p, err := look("/proc", pid); err != nil || p.pid != 0 {
			t.Errorf("process %d: %+v, %v", pid, p, err)
		}
	}
}
