package testenv

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared holds the nodes that the tests of this process share. A node takes a
// second or two to start, so each package starts one of each version.
var shared struct {
	sync.Mutex
	nodes map[Version]*Node
	errs  map[Version]error
}

// Shared returns the node of version v that all tests of this package use, and
// starts it at first use. It skips the test where v cannot run, as Need does.
// The package's TestMain must call Run, which stops the nodes. Tests that stop
// or pause containerd, or count what is on the node, must not run in parallel
// with others on it.
func Shared(t testing.TB, v Version) *Node {
	t.Helper()
	Need(t, Root, v.Requirement())
	shared.Lock()
	defer shared.Unlock()
	if err := shared.errs[v]; err != nil {
		t.Fatal(err)
	}
	if n := shared.nodes[v]; n != nil {
		return n
	}
	if shared.nodes == nil {
		shared.nodes, shared.errs = map[Version]*Node{}, map[Version]error{}
	}
	// Not the test's context: the node outlives the test.
	n, err := Start(context.Background(), Options{Version: v})
	if err != nil {
		shared.errs[v] = err // the next test would only wait for the same error
		t.Fatal(err)
	}
	shared.nodes[v] = n
	return n
}

// Run runs the tests of a package and stops the nodes they shared. It returns
// the exit code for os.Exit; a node that cannot be cleaned up makes it 1.
//
//	func TestMain(m *testing.M) { os.Exit(testenv.Run(m)) }
func Run(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	for _, n := range shared.nodes {
		if err := n.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	shared.nodes = nil
	return code
}

// Each runs a subtest on the shared node of every version.
func Each(t *testing.T, test func(t *testing.T, n *Node)) {
	t.Helper()
	for _, v := range Versions() {
		t.Run("containerd-"+string(v), func(t *testing.T) {
			test(t, Shared(t, v))
		})
	}
}
