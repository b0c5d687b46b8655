package testenv

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// needVar names, as a comma list or "all", the requirements that this run is
// supposed to meet. A test that would skip for one of them fails instead: a
// skip that should have run is red.
const needVar = "PORTHOLE_NEED"

// Requirement is something a test needs of the machine, by the name that
// PORTHOLE_NEED uses for it.
type Requirement string

const (
	// Root is uid 0: namespaces, mounts and cgroups are made for real.
	Root Requirement = "root"
	// Containerd16 is everything that Start needs for V16.
	Containerd16 Requirement = "containerd-1.6"
	// Containerd24 is everything that Start needs for V24.
	Containerd24 Requirement = "containerd-2.4"
)

// cniBin is where Debian installs the CNI plugins.
const cniBin = "/usr/lib/cni"

// busyboxBin is Debian's static busybox, the content of localhost/busybox:1.
const busyboxBin = "/bin/busybox"

// Requirement returns what Start needs to start v, besides Root.
func (v Version) Requirement() Requirement { return Requirement("containerd-" + string(v)) }

// Need skips the test unless every requirement is met, and says why and what
// to run. When PORTHOLE_NEED names an unmet requirement, the test fails.
func Need(t testing.TB, needs ...Requirement) {
	t.Helper()
	for _, n := range needs {
		reason := n.unmet()
		if reason == "" {
			continue
		}
		if required(n, os.Getenv(needVar)) {
			t.Fatalf("%s is needed (%s=%s): %s", n, needVar, os.Getenv(needVar), reason)
		}
		t.Skipf("needs %s: %s", n, reason)
	}
}

// required reports whether list, the value of PORTHOLE_NEED, names n.
func required(n Requirement, list string) bool {
	names := strings.Split(list, ",")
	return slices.ContainsFunc(names, func(name string) bool {
		name = strings.TrimSpace(name)
		return name == "all" || name == string(n)
	})
}

// unmet says why this machine does not meet r, or "" when it does.
func (r Requirement) unmet() string {
	switch r {
	case Root:
		if uid := os.Geteuid(); uid != 0 {
			return fmt.Sprintf("uid is %d; run the tests as root", uid)
		}
		return ""
	case Containerd16, Containerd24:
		return Version(strings.TrimPrefix(string(r), "containerd-")).missing()
	}
	return "unknown requirement; see testenv.Requirement"
}

// missing names the first file that Start would miss for v.
func (v Version) missing() string {
	if _, err := v.binaries(); err != nil {
		return err.Error()
	}
	for _, p := range []string{cniBin + "/bridge", cniBin + "/host-local", cniBin + "/loopback", busyboxBin, ipBin} {
		if _, err := os.Stat(p); err != nil {
			return p + " is missing, run test/setup"
		}
	}
	return ""
}
