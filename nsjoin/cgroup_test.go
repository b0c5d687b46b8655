package nsjoin

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestInContainer(t *testing.T) {
	id, other := strings.Repeat("c0ffee42", 8), strings.Repeat("deadbeef", 8)
	pod := "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1234.slice/"
	for name, tc := range map[string]struct {
		text    string
		in      bool
		unknown bool
	}{
		"containerd cgroupfs": {text: "0::/kubepods/burstable/pod12-34/" + id + "\n", in: true},
		"containerd systemd":  {text: "0::" + pod + "cri-containerd-" + id + ".scope\n", in: true},
		"cri-o systemd":       {text: "0::" + pod + "crio-" + id + ".scope\n", in: true},
		"cri-o cgroupfs":      {text: "0::/kubepods/pod12/crio-" + id + "\n", in: true},
		"crun's child":        {text: "0::" + pod + "crio-" + id + ".scope/container\n", in: true},
		"systemd inside":      {text: "0::/kubepods/pod12/" + id + "/init.scope\n", in: true},
		"own namespace":       {text: "0::/../../pod12/" + id + "\n", in: true},
		"hybrid":              {text: "9:name=systemd:/\n8:pids:/k8s/" + id + "\n0::/\n", in: true},
		"colon in path":       {text: "0::/a:b/" + id + "\n", in: true},
		"no newline":          {text: "0::/k8s/" + id, in: true},
		"other container":     {text: "0::/kubepods/burstable/pod12-34/" + other + "\n"},
		"its monitor":         {text: "0::" + pod + "crio-conmon-" + id + ".scope\n"},
		"part of a name":      {text: "0::/kubepods/x" + id + "\n"},
		"host service":        {text: "0::/system.slice/sshd.service\n"},
		"hybrid, elsewhere":   {text: "9:name=systemd:/\n8:pids:/user.slice\n0::/\n"},
		"root":                {text: "0::/\n", unknown: true},
		"hybrid root":         {text: "9:name=systemd:/\n8:pids:/\n0::/\n", unknown: true},
		"above":               {text: "0::/../..\n", unknown: true},
		"empty":               {text: "", unknown: true},
		"malformed":           {text: id + "\n", unknown: true},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := fakeCgroup(t, tc.text).InContainer(id)
			if tc.unknown {
				if in || !errdefs.IsUnknown(err) {
					t.Errorf("got %v, %v, want unknown", in, err)
				}
				return
			}
			if err != nil || in != tc.in {
				t.Errorf("got %v, %v, want %v", in, err, tc.in)
			}
		})
	}
	for _, bad := range []string{"", "/", "a/b", "a\nb"} {
		if in, err := fakeCgroup(t, "0::/a/b\n").InContainer(bad); in || !errdefs.IsInvalidArgument(err) {
			t.Errorf("id %q: %v, %v", bad, in, err)
		}
	}
}

// fakeCgroup pins this process with another cgroup file.
func fakeCgroup(t *testing.T, text string) *Process {
	t.Helper()
	proc, pid := t.TempDir(), strconv.Itoa(os.Getpid())
	files := map[string]string{"stat": pid + " (x) S" + statTail, "cgroup": text}
	if err := os.Mkdir(filepath.Join(proc, pid), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(proc, pid, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(pid, filepath.Join(proc, "self")); err != nil {
		t.Fatal(err)
	}
	p, err := pin(proc, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}
