package nsjoin

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
)

// labelValue is what Kubernetes accepts as a label value (k8s.io/apimachinery,
// validation.IsValidLabelValue).
var labelValue = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)

func TestSelf(t *testing.T) {
	id, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	if !labelValue.MatchString(id.String()) {
		t.Errorf("%q is not a label value", id)
	}
	if back, err := ParseIdentity(id.String()); err != nil || back != id {
		t.Errorf("%q came back as %+v, %v", id, back, err)
	}
	if alive, known := id.Running(); !alive || !known {
		t.Errorf("this test does not run: %v, %v", alive, known)
	}
	if p := mustPin(t, os.Getpid()); p.Start() != id.Start {
		t.Errorf("start %d, pinned with %d", id.Start, p.Start())
	}
}

func TestRunning(t *testing.T) {
	own, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(*Identity)) Identity {
		id := own
		f(&id)
		return id
	}
	for name, tc := range map[string]struct {
		id           Identity
		alive, known bool
	}{
		"self":               {own, true, true},
		"other boot":         {change(func(id *Identity) { id.Boot = strings.Repeat("0", bootDigits) }), false, true},
		"other namespace":    {change(func(id *Identity) { id.PIDNamespace++ }), false, false},
		"successor":          {change(func(id *Identity) { id.Start-- }), false, true},
		"nobody":             {change(func(id *Identity) { id.PID = math.MaxInt32 }), false, true},
		"zero":               {Identity{}, false, false},
		"other, other's pid": {change(func(id *Identity) { id.PIDNamespace++; id.PID = 1 }), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if alive, known := tc.id.Running(); alive != tc.alive || known != tc.known {
				t.Errorf("Running = %v, %v, want %v, %v", alive, known, tc.alive, tc.known)
			}
		})
	}
}

// TestRunningFakeProc covers what no test can ask of a live /proc.
func TestRunningFakeProc(t *testing.T) {
	pid := strconv.Itoa(os.Getpid())
	id := Identity{Boot: "0f3c9a7d21e84b65", PIDNamespace: 4026531836, PID: os.Getpid(), Start: 556677}
	good := map[string]string{
		"boot": "0f3c9a7d-21e8-4b65-9a53-0123456789ab\n", "self": pid,
		"ns": "pid:[4026531836]", "stat": pid + " (x) S" + statTail,
	}
	for name, tc := range map[string]struct {
		file, text   string
		alive, known bool
	}{
		"good":             {"stat", good["stat"], true, true},
		"zombie":           {"stat", pid + " (x) Z" + statTail, false, true},
		"dead":             {"stat", pid + " (x) X" + statTail, false, true},
		"hidden":           {"stat", "", false, false},
		"malformed stat":   {"stat", "x", false, false},
		"rebooted":         {"boot", "1f3c9a7d-21e8-4b65-9a53-0123456789ab\n", false, true},
		"no boot id":       {"boot", "", false, false},
		"short boot id":    {"boot", "0f3c", false, false},
		"not a boot id":    {"boot", strings.Repeat("x", 36), false, false},
		"other namespace":  {"ns", "pid:[4026531837]", false, false},
		"strange link":     {"ns", "what", false, false},
		"another's procfs": {"self", "1", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			files := map[string]string{}
			for k, v := range good {
				files[k] = v
			}
			files[tc.file] = tc.text
			writeProc(t, proc, pid, files)
			if alive, known := id.running(proc); alive != tc.alive || known != tc.known {
				t.Errorf("running = %v, %v, want %v, %v", alive, known, tc.alive, tc.known)
			}
		})
	}
}

// writeProc lays out a proc root; an empty text leaves its file out. The
// namespace link hangs below whatever directory self names.
func writeProc(t *testing.T, proc, pid string, files map[string]string) {
	t.Helper()
	random := filepath.Join(proc, "sys/kernel/random")
	for _, dir := range []string{random, filepath.Join(proc, pid), filepath.Join(proc, files["self"], "ns")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range map[string]string{filepath.Join(random, "boot_id"): files["boot"], filepath.Join(proc, pid, "stat"): files["stat"]} {
		if text == "" {
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(files["self"], filepath.Join(proc, "self")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(files["ns"], filepath.Join(proc, "self/ns/pid")); err != nil {
		t.Fatal(err)
	}
}

// TestSelfForeignProc: a child in a new PID namespace still sees the old /proc.
func TestSelfForeignProc(t *testing.T) {
	flags := uintptr(syscall.CLONE_NEWPID)
	if os.Geteuid() != 0 {
		flags |= syscall.CLONE_NEWUSER
	}
	c := startChild(t, "wait", flags)
	if !strings.HasPrefix(c.line, "error: ") || !strings.Contains(c.line, "PID namespace") {
		t.Errorf("child named itself %q", c.line)
	}
}

func TestParseIdentity(t *testing.T) {
	if got, err := ParseIdentity("0f3c9a7d21e84b65.4026531836.81234.556677"); err != nil || got != (Identity{"0f3c9a7d21e84b65", 4026531836, 81234, 556677}) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{
		"", ".", "...", "0f3c9a7d21e84b65", "0f3c9a7d21e84b65.4026531836.81234", "0f3c9a7d21e84b65.4026531836.81234.556677.8",
		"0f3c9a7d21e84b6.4026531836.81234.556677", "0F3C9A7D21E84B65.4026531836.81234.556677", "0f3c9a7d-1e84b65.4026531836.81234.556677",
		"0f3c9a7d21e84b65.+4026531836.81234.556677", "0f3c9a7d21e84b65.4026531836.081234.556677", "0f3c9a7d21e84b65.4026531836.-1.556677",
		"0f3c9a7d21e84b65.4026531836.0.556677", "0f3c9a7d21e84b65.0.1.556677", "0f3c9a7d21e84b65.4294967296.1.556677",
		"0f3c9a7d21e84b65.4026531836.81234.18446744073709551616", "0f3c9a7d21e84b65.4026531836.81234.556677\n", " 0f3c9a7d21e84b65.4026531836.81234.5",
	} {
		if got, err := ParseIdentity(bad); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: got %+v, %v", bad, got, err)
		}
	}
	longest := Identity{strings.Repeat("f", bootDigits), math.MaxUint32, math.MaxInt32, math.MaxUint64}
	if s := longest.String(); len(s) != 59 || !labelValue.MatchString(s) {
		t.Errorf("longest is %d characters: %q", len(s), s)
	}
}

func FuzzParseIdentity(f *testing.F) {
	f.Add("0f3c9a7d21e84b65.4026531836.81234.556677")
	f.Add("0f3c9a7d21e84b65.4026531836.+1.1")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseIdentity(s)
		if err != nil {
			return
		}
		if id.String() != s || !labelValue.MatchString(s) || id.PID < 1 {
			t.Errorf("%q parsed as %+v", s, id)
		}
	})
}
