// Package kubelet holds the proof against a real kubelet: version 1.37.2, as
// its own module builds it, runs static pods on a private containerd, Porthole
// opens every one of them, and kubelet must neither mind nor be minded. It ends
// with a table of what was seen.
//
// It takes minutes and needs a kubelet, so it runs only where PORTHOLE_KUBELET
// names one: make test-kubelet builds that and sets it. What does not belong
// here: what can be seen without a kubelet, which is test/node's business, and
// kubelet's code, which the module in kubernetes/ builds and nothing links.
package kubelet

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/porthole-project/porthole/test/testenv"
)

const (
	// programVar is the path of the kubelet to run. Without it every test of
	// this package is skipped, also where PORTHOLE_NEED is "all": these tests
	// are a target of their own.
	programVar = "PORTHOLE_KUBELET"
	// secondsVar shortens the time for which debug containers must live.
	secondsVar = "PORTHOLE_KUBELET_SECONDS"
	// logVar is a file that kubelet's log is copied to; the node's own copy goes
	// with the node.
	logVar = "PORTHOLE_KUBELET_LOG"
)

// binary is the path of the porthole under test.
var binary string

func TestMain(m *testing.M) {
	if root := os.Getenv(rootVar); root != "" {
		fmt.Fprintln(os.Stderr, becomeKubelet(root, os.Args[1:]))
		os.Exit(1)
	}
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getenv(programVar) == "" {
		return m.Run() // which skips
	}
	dir, err := os.MkdirTemp("", "porthole-kubelet-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if binary, err = testenv.BuildPorthole(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return testenv.Run(m)
}

// program returns the kubelet to run, and skips the test where there is none.
func program(t *testing.T) string {
	t.Helper()
	path := os.Getenv(programVar)
	if path == "" {
		t.Skip("needs a kubelet: run make test-kubelet")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s: %v; run test/kubelet/build", programVar, err)
	}
	return path
}

// housekeeping is for how long kubelet has the debug containers before its
// eyes: at least 30 rounds of its clean-up of pods, 60 of its look at the
// runtime, and one of its container collection.
func housekeeping(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv(secondsVar)
	if text == "" {
		return time.Minute
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: want a number of seconds", secondsVar, text)
	}
	return time.Duration(n) * time.Second
}
