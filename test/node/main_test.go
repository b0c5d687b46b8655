// Package node holds the end-to-end tests: the real porthole binary, run as a
// process, against a real containerd of both versions. A test sees what a user
// sees (streams, exit code, terminal), and looks at the outcome from outside:
// through the CRI, through /proc, and by what is left on the node.
//
// What does not belong here: anything that the binary does not show, and the
// faults that a real runtime cannot be made to produce. Those are the business
// of each room's own tests, with critest.
package node

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/porthole-project/porthole/test/testenv"
)

// binary is the path of the program under test.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "porthole-node-")
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

// soak says that the full counts are to be run, which takes long.
func soak() bool { return os.Getenv("PORTHOLE_SOAK") == "1" }

// count is how often something is done: full in a soak, else short.
func count(t *testing.T, short, full int) int {
	t.Helper()
	n := short
	if soak() {
		n = full
	}
	t.Logf("%d times (PORTHOLE_SOAK=1: %d)", n, full)
	return n
}
