// Package test holds the rules of the house that a compiler does not check:
// which room may import which (arrows_test.go, with the picture and the reasons
// in docs/architecture.md) and what is written over the door of each
// (pkgdoc_test.go). The directories below it hold what crosses rooms.
//
// What does not belong here: tests of one room's behaviour, which live beside
// its code.
package test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// anything stands in a room's arrows for every other room of ours, except those
// that are for tests.
const anything = "*"

// A room is one package of ours.
type room struct {
	arrows []string // our packages that it may import
	why    string
}

// rooms places every package of ours by its path in the module. A new package
// needs a row: say what it may know, and why.
var rooms = map[string]room{
	"cmd/porthole":             {[]string{anything}, "the one binary puts the rooms together"},
	"cri":                      {[]string{"runtime", "runtime/ephemeral", "internal/watch"}, "a rung gathers facts for the domain and renders its plan; it follows log files"},
	"cri/critest":              {nil, "a CRI server that knew our client would repeat its mistakes"},
	"internal/agent":           {[]string{"runtime", "runtime/ephemeral", "internal/escape", "internal/journal"}, "the engine declares what it needs of a rung; cmd/porthole hands it one"},
	"internal/cgroup":          {nil, "leaf: a cgroup is known by the ID in its name"},
	"internal/config":          {nil, "leaf: settings are data"},
	"internal/escape":          {nil, "leaf: strings in, strings out"},
	"internal/journal":         {nil, "leaf: a record outlives the version that wrote it, so it is plain strings"},
	"internal/kubelet":         {nil, "leaf: callers hand over plain strings"},
	"internal/kubelet/poddir":  {nil, "leaf: reads one directory that it is told"},
	"internal/kubelet/podspec": {nil, "leaf: asks one socket and reads manifests that it is told of"},
	"internal/node":            {nil, "leaf: /sys knows no container"},
	"internal/registry":        {nil, "leaf: credentials know no runtime"},
	"internal/tty":             {nil, "leaf: a terminal knows no container"},
	"internal/watch":           {nil, "leaf: inotify knows no log"},
	"nsjoin":                   {nil, "leaf: the kernel knows no runtime"},
	"runtime":                  {[]string{"runtime/ephemeral"}, "the domain: every arrow ends here, or at what the API says of its object"},
	"runtime/ephemeral":        {nil, "the API's rules know no node"},
	"test":                     {nil, "reads the source, links none of it"},
	"test/demo":                {[]string{anything, "test/testenv"}, "shows the binary at work on a real node"},
	"test/engine":              {[]string{anything}, "gives the engine a rung and the kernel, as cmd/porthole does"},
	"test/kubelet":             {nil, "runs the binary under a real kubelet and links neither"},
	"test/node":                {nil, "runs the binary and links none of it"},
	"test/testenv":             {[]string{anything}, "a real node for tests"},
	"test/testenv/app":         {nil, "the program inside the tests' pods; its image holds nothing else"},
}

// A vendor is a module, or a part of one, that only some rooms may import.
type vendor struct {
	prefix string
	rooms  []string // "x/..." is x and all below it
	why    string
	tests  bool // _test.go files of other rooms may, too
}

var vendors = []vendor{
	{"k8s.io/cri-api", []string{"cri/...", "test/..."}, "one room speaks CRI, so one room follows when it changes", false},
	{"google.golang.org/grpc", []string{"cri/...", "internal/kubelet/podspec", "test/..."}, "gRPC is how CRI and kubelet's Pods API are spoken; its codes end at the room's door", false},
	{"k8s.io/kubelet", []string{"internal/kubelet/podspec", "test/..."}, "one room asks kubelet", false},
	{"google.golang.org/protobuf", []string{"cri/...", "test/..."}, "as grpc", false},
	{"github.com/moby/spdystream", []string{"cri/...", "test/..."}, "SPDY is how CRI streams", false},
	{"github.com/urfave/cli", []string{"cmd/porthole"}, "flags end where plain structs begin", false},
	{"golang.org/x/sys", []string{"nsjoin", "internal/tty", "internal/watch", "test/..."}, "system calls have few doors", true},
	{"golang.org/x/term", []string{"internal/tty", "test/..."}, "one room puts the terminal back", true},
	{"github.com/creack/pty", []string{"test/..."}, "a terminal for tests", true},
	{"github.com/containerd/containerd", []string{"test/..."}, "Porthole speaks CRI to containerd; the containerd rung is not built yet", false},
	{"github.com/opencontainers", []string{"test/..."}, "OCI documents are the runtime's business; the oci rung is not built yet", false},
	{"k8s.io/client-go", nil, "Porthole works without the API server", false},
	{"k8s.io/cri-client", nil, "it logs every error to stderr and brings 12 modules", false},
	{"github.com/stretchr/testify", nil, "plain Go says what is compared", false},
	{"github.com/sirupsen/logrus", nil, "log/slog does", false},
	{"k8s.io/klog", nil, "log/slog does", false},
}

// notLinked lists what the binary must not hold, by prefix, whoever imports it.
var notLinked = map[string]string{
	"testing":                     "test code in the binary",
	"net/http/pprof":              "handlers that appear by being imported",
	"expvar":                      "a handler that appears by being imported",
	"plugin":                      "needs cgo, and the binary is one file",
	"k8s.io/client-go":            "Porthole works without the API server; the clientset alone doubles the binary",
	"k8s.io/kubernetes":           "what kubelet does is mirrored, not linked",
	"k8s.io/component-base":       "brings flags and metrics of its own",
	"k8s.io/cri-client":           "it logs every error to stderr",
	"github.com/golang/glog":      "puts its flags into every command line",
	"github.com/stretchr/testify": "test code in the binary",
	"github.com/creack/pty":       "test code in the binary",
	ours("test"):                  "test code in the binary",
	ours("cri/critest"):           "test code in the binary",
}

func TestArrows(t *testing.T) {
	packages := listPackages(t, "./...")
	placed := maps.Clone(rooms)
	for _, p := range packages {
		name := p.name()
		r, ok := placed[name]
		if !ok {
			t.Errorf("package %s has no row in rooms: say there what it may import, and why", name)
			continue
		}
		delete(placed, name)
		for _, imported := range own(p.Imports) {
			if !r.may(imported) {
				t.Errorf("%s imports %s: it may import only %q (%s)", name, imported, r.arrows, r.why)
			}
		}
		for _, imported := range own(p.testImports()) {
			if imported != name && !forTests(imported) && !r.may(imported) {
				t.Errorf("a test of %s imports %s: it may import only %q (%s), itself and what is for tests", name, imported, r.arrows, r.why)
			}
		}
	}
	for name := range placed {
		t.Errorf("rooms has a row for %s, which does not exist", name)
	}
}

func TestVendorsHaveOneDoor(t *testing.T) {
	for _, p := range listPackages(t, "./...") {
		for _, v := range vendors {
			if slices.ContainsFunc(v.rooms, func(pattern string) bool { return matches(pattern, p.name()) }) {
				continue
			}
			imports := p.Imports
			if !v.tests {
				imports = slices.Concat(imports, p.testImports())
			}
			for _, imported := range imports {
				if under(v.prefix, imported) {
					t.Errorf("%s imports %s: only %q may (%s)", p.name(), imported, v.rooms, v.why)
				}
			}
		}
	}
}

func TestWhatTheBinaryLinks(t *testing.T) {
	deps := listPackages(t, "-deps", "./cmd/porthole")
	if len(deps) < 2 {
		t.Fatalf("the binary links %d packages: go list answered something else than was asked", len(deps))
	}
	for _, p := range deps {
		for prefix, why := range notLinked {
			if under(prefix, p.ImportPath) {
				t.Errorf("bin/porthole links %s: %s; go mod why %[1]s says through whom", p.ImportPath, why)
			}
		}
	}
}

// TestRulesCatch holds the rules themselves against imports that break them.
func TestRulesCatch(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		want     bool
	}{
		{"cri", "runtime", true},
		{"cri", "nsjoin", false},
		{"runtime", "cri", false},
		{"internal/agent", "cri", false},
		{"cmd/porthole", "cri", true},
		{"cmd/porthole", "cri/critest", false},
		{"cmd/porthole", "test/testenv", false},
		{"test/testenv", "cmd/porthole", false},
		{"test/demo", "test/testenv", true},
	} {
		if got := rooms[tc.from].may(tc.to); got != tc.want {
			t.Errorf("%s may import %s: %v, want %v", tc.from, tc.to, got, tc.want)
		}
	}
	for _, tc := range []struct {
		prefix, path string
		want         bool
	}{
		{"testing", "testing/iotest", true},
		{"testing", "testingx", false},
		{"plugin", "github.com/x/plugin", false},
	} {
		if got := under(tc.prefix, tc.path); got != tc.want {
			t.Errorf("%s under %s: %v, want %v", tc.path, tc.prefix, got, tc.want)
		}
	}
}

// may reports whether the room may import our package name in code that is not
// in a _test.go file. Nobody imports a command.
func (r room) may(name string) bool {
	if slices.Contains(r.arrows, name) {
		return true
	}
	return slices.Contains(r.arrows, anything) && !forTests(name) && !under("cmd", name)
}

// forTests reports whether only _test.go files and test/ may import a package:
// it is below test/, or named after what it tests, like critest.
func forTests(name string) bool {
	return under("test", name) || strings.HasSuffix(path.Base(name), "test")
}

func matches(pattern, name string) bool {
	prefix, all := strings.CutSuffix(pattern, "/...")
	return name == prefix || all && under(prefix, name)
}

func under(prefix, name string) bool {
	return name == prefix || strings.HasPrefix(name, prefix+"/")
}

const module = "github.com/porthole-project/porthole"

func ours(name string) string { return module + "/" + name }

// own picks our packages out of import paths and gives their paths in the module.
func own(imports []string) []string {
	var names []string
	for _, i := range imports {
		if name, ok := strings.CutPrefix(i, module+"/"); ok {
			names = append(names, name)
		}
	}
	return names
}

// A goPackage is what go list -json says of a package, as far as asked for.
type goPackage struct {
	Dir, ImportPath, Name                              string
	GoFiles, CgoFiles, TestGoFiles, XTestGoFiles       []string
	IgnoredGoFiles, Imports, TestImports, XTestImports []string
}

func (p goPackage) name() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

func (p goPackage) testImports() []string { return slices.Concat(p.TestImports, p.XTestImports) }

// listPackages asks go list about our packages as they are built for release.
func listPackages(t *testing.T, args ...string) []goPackage {
	t.Helper()
	fields := "-json=Dir,ImportPath,Name,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles,IgnoredGoFiles,Imports,TestImports,XTestImports"
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", fields}, args...)...)
	cmd.Dir = ".."
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}
