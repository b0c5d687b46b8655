package testenv

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childVar makes the test binary a process that starts a node of that version
// with a pod and then waits to be killed.
const childVar = "PORTHOLE_TESTENV_CHILD"

// orphan is what the child says about the node it leaves behind.
type orphan struct {
	Record     record
	Containerd int
	App        int
}

func runChild() int {
	ctx := context.Background()
	n, err := Start(ctx, Options{Version: Version(os.Getenv(childVar))})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	p, err := n.RunPod(ctx, PodSpec{Name: "orphan"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = json.NewEncoder(os.Stdout).Encode(orphan{n.record, n.PID(), p.Containers["app"].PID})
	time.Sleep(time.Hour)
	return 0
}

// TestSweepAfterKill kills a process that has a node with kill -9: containerd
// dies with it, and the next sweep removes the rest.
func TestSweepAfterKill(t *testing.T) {
	for _, v := range Versions() {
		t.Run(string(v), func(t *testing.T) {
			Need(t, Root, v.Requirement())
			o := startOrphan(t, v)
			eventually(t, "containerd dies with its owner", func() bool { return !alive(o.Containerd) })
			if !alive(o.App) {
				t.Fatal("the pod died too: nothing is left to sweep")
			}
			sockets := shimSockets(t, v, o.Record)
			if err := Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if left := traces(t, o.Record); len(left) > 0 {
				t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
			}
			if alive(o.App) {
				t.Errorf("process %d of the pod lives", o.App)
			}
			goneSockets(t, sockets)
		})
	}
}

// startOrphan runs the child, waits for its report and kills it.
func startOrphan(t *testing.T, v Version) orphan {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+string(v))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(stdout).ReadBytes('\n')
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	var o orphan
	if err := json.Unmarshal(line, &o); err != nil {
		t.Fatalf("child of %s said %q: %v, %v", v, line, readErr, err)
	}
	return o
}

// TestSweepRemovesTornRecord checks a record whose owner died while writing.
func TestSweepRemovesTornRecord(t *testing.T) {
	Need(t, Root)
	if err := Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(registry, newID()+".json")
	if err := os.WriteFile(path, []byte(`{"id":"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("torn record: %v", err)
	}
}
