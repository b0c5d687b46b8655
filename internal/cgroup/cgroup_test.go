package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestLimitPids(t *testing.T) {
	id := strings.Repeat("ab", 32)
	for what, c := range map[string]struct {
		cgroup string
		is     func(error) bool // nil: the limit is written
	}{
		"cgroupfs":             {"9:pids:/kubepods/podu1/" + id + "\n", nil},
		"systemd":              {"4:memory:/x\n9:pids:/kubepods.slice/cri-containerd-" + id + ".scope\n", nil},
		"another container":    {"9:pids:/kubepods/podu1/" + strings.Repeat("cd", 32) + "\n", errdefs.IsFailedPrecondition},
		"the pod's own":        {"9:pids:/kubepods/podu1\n", errdefs.IsFailedPrecondition},
		"below the container":  {"9:pids:/kubepods/podu1/" + id + "/inner\n", errdefs.IsFailedPrecondition},
		"an id in a directory": {"9:pids:/" + id + "/x\n", errdefs.IsFailedPrecondition},
		"cgroup v2":            {"0::/kubepods/podu1/" + id + "\n", errdefs.IsNotImplemented},
		"ended":                {"", errdefs.IsNotFound},
		"gone meanwhile":       {"9:pids:/gone/" + id + "\n", errdefs.IsNotFound},
	} {
		f := Files{Proc: t.TempDir(), Cgroups: t.TempDir()}
		write := func(path, text string) {
			t.Helper()
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(filepath.Join(f.Proc, "7", "cgroup"), c.cgroup)
		_, own, _ := strings.Cut(strings.TrimSpace(c.cgroup), "pids:")
		file := filepath.Join(f.Cgroups, "pids", own, "pids.max")
		if what == "gone meanwhile" {
			write(filepath.Join(f.Cgroups, "pids", "pids.max"), "max")
		} else {
			write(file, "max")
		}
		err := f.LimitPids(7, id, 20)
		if c.is != nil {
			if !c.is(err) {
				t.Errorf("%s: %v", what, err)
			}
			if text, _ := os.ReadFile(file); len(text) > 0 && string(text) != "max" {
				t.Errorf("%s: refused, and %q was written", what, text)
			}
			continue
		}
		if text, readErr := os.ReadFile(file); err != nil || readErr != nil || !strings.HasPrefix(string(text), "20") {
			t.Errorf("%s: %v, %q", what, err, text)
		}
	}
	f := Files{Proc: t.TempDir(), Cgroups: t.TempDir()}
	if err := f.LimitPids(1, id, 20); !errdefs.IsNotFound(err) {
		t.Errorf("no such process: %v", err)
	}
}
