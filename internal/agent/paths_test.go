package agent

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

// What will be removed at the end is <absolute path>/<name> and nothing else.
func TestCheckPaths(t *testing.T) {
	for _, paths := range [][]string{nil, {"/var/log/pods/p/dbg"}, {"/dbg"}, {"/a/dbg", "/b/dbg"}} {
		if err := checkPaths(paths, "dbg"); err != nil {
			t.Errorf("%q: %v", paths, err)
		}
	}
	for _, c := range []struct{ path, name string }{
		{"/", ""}, {"/", "dbg"}, {"", "dbg"}, {"dbg", "dbg"}, {"./dbg", "dbg"}, {"/a", "dbg"}, {"/a/dbg/", "dbg"}, {"/a//dbg", "dbg"},
		{"/a/../dbg", "dbg"}, {"/a/dbg/..", "dbg"}, {"/a/dbg/.", "dbg"}, {"/a/..", ".."}, {"/a/.", "."}, {"/dbg/x", "dbg"}, {"/a/xdbg", "dbg"}, {"/a/", ""},
	} {
		if err := checkPaths([]string{"/good/" + c.name, c.path}, c.name); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q of %q: %v", c.path, c.name, err)
		}
	}
}

func TestRandomName(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		name := randomName(8)
		if len(name) != 8 || strings.Trim(name, nameAlphabet) != "" || seen[name] {
			t.Fatalf("%q", name)
		}
		seen[name] = true
	}
}
