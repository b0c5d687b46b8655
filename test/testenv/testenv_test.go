package testenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		os.Exit(runChild())
	}
	os.Exit(Run(m))
}

// traces lists what exists of the node of r, found without the code that
// removes it.
func traces(t *testing.T, r record) []string {
	t.Helper()
	var found []string
	for _, p := range []string{r.Dir, r.path(), "/sys/class/net/pth" + r.ID} {
		if _, err := os.Lstat(p); err == nil {
			found = append(found, p)
		}
	}
	cgroups, _ := filepath.Glob("/sys/fs/cgroup/*/porthole-" + r.ID)
	v2, _ := filepath.Glob("/sys/fs/cgroup/porthole-" + r.ID)
	found = append(append(found, cgroups...), v2...)
	for _, p := range []string{"/proc/self/mountinfo", "/var/lib/cni/results/*"} {
		files, _ := filepath.Glob(p)
		for _, f := range files {
			if text, _ := os.ReadFile(f); strings.Contains(string(text), r.Dir) {
				found = append(found, f+" names "+r.Dir)
			}
		}
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range lines {
		if text, _ := os.ReadFile(p); strings.Contains(string(text), r.Dir) {
			found = append(found, p+": "+strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return found
}

// shimSockets lists the sockets that a node with pods has in the directory
// that all of them share. Only 1.6 shims have any there.
func shimSockets(t *testing.T, v Version, r record) []string {
	t.Helper()
	sockets := r.shimSockets16()
	if (v == V16) != (len(sockets) > 0) {
		t.Errorf("containerd %s with pods has %d shim sockets outside its directory", v, len(sockets))
	}
	return sockets
}

func goneSockets(t *testing.T, sockets []string) {
	t.Helper()
	for _, s := range sockets {
		if _, err := os.Lstat(s); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("socket %s is left behind: %v", s, err)
		}
	}
}

// alive reports whether pid runs, zombies excluded.
func alive(pid int) bool { return !isZombie(pid) }

// start starts a node of the test's own and stops it at the end.
func start(t *testing.T, v Version) *Node {
	t.Helper()
	Need(t, Root, v.Requirement())
	n, err := Start(t.Context(), Options{Version: v})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// runPod runs a pod and removes it at the end of the test.
func runPod(t *testing.T, n *Node, spec PodSpec) *Pod {
	t.Helper()
	p, err := n.RunPod(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Remove(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return p
}

// nsOf returns the identity of a namespace of a process.
func nsOf(t *testing.T, pid int, kind string) string {
	t.Helper()
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// eventually waits until cond holds and fails the test if it never does.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10 s", what)
		}
		time.Sleep(pollInterval)
	}
}
