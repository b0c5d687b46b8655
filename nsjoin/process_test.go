package nsjoin

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

func TestPinSelf(t *testing.T) {
	p := mustPin(t, os.Getpid())
	if p.PID() != os.Getpid() {
		t.Errorf("PID = %d, want %d", p.PID(), os.Getpid())
	}
	if p.Start() == 0 {
		t.Error("start time is 0")
	}
	if err := p.Alive(); err != nil {
		t.Error(err)
	}
	set, err := p.Namespaces()
	if err != nil {
		t.Fatal(err)
	}
	for kind, id := range set {
		link, err := os.Readlink("/proc/self/ns/" + string(kind))
		if want := string(kind) + ":[" + id.String() + "]"; err != nil || link != want {
			t.Errorf("%s: kernel says %q (%v), want %q", kind, link, err, want)
		}
	}
	if len(set) < 6 {
		t.Errorf("only %d namespaces: %v", len(set), set)
	}
	text, err := p.Cgroups()
	if want, _ := os.ReadFile("/proc/self/cgroup"); err != nil || text != string(want) {
		t.Errorf("Cgroups = %q, %v, want %q", text, err, want)
	}
}

func TestPinRefuses(t *testing.T) {
	ended, err := spawn("wait", nil)
	if err != nil {
		t.Fatal(err)
	}
	ended.end()
	for name, tc := range map[string]struct {
		pid   int
		class func(error) bool
	}{
		"zero":     {0, errdefs.IsInvalidArgument},
		"negative": {-1, errdefs.IsInvalidArgument},
		"ended":    {ended.Process.Pid, errdefs.IsNotFound},
		"thread":   {otherThread(t), errdefs.IsInvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Pin(tc.pid)
			if err == nil {
				p.Close()
				t.Fatalf("pinned %d", tc.pid)
			}
			if !tc.class(err) {
				t.Errorf("wrong class: %v", err)
			}
		})
	}
}

// otherThread returns a thread of this process that is not its leader.
func otherThread(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if tid, err := strconv.Atoi(task.Name()); err == nil && tid != os.Getpid() {
			return tid
		}
	}
	t.Fatal("a Go program with one thread")
	return 0
}

// TestPinForeignProc gives pin a /proc that disagrees with the kernel about who
// is who.
func TestPinForeignProc(t *testing.T) {
	pid := strconv.Itoa(os.Getpid())
	stat := ") S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 77 0 0\n"
	for name, tc := range map[string]struct {
		self, stat string
		class      func(error) bool
	}{
		"other namespace": {"7", pid + " (x" + stat, errdefs.IsFailedPrecondition},
		"other process":   {pid, "7 (x" + stat, errdefs.IsFailedPrecondition},
		"no stat":         {pid, "", errdefs.IsInvalidArgument},
		"good":            {pid, pid + " (x" + stat, func(err error) bool { return err == nil }},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			if err := os.Mkdir(filepath.Join(proc, pid), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(proc, pid, "stat"), []byte(tc.stat), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(tc.self, filepath.Join(proc, "self")); err != nil {
				t.Fatal(err)
			}
			p, err := pin(proc, os.Getpid())
			if !tc.class(err) {
				t.Fatalf("wrong class: %v", err)
			}
			if err == nil {
				defer p.Close()
				if p.Start() != 77 {
					t.Errorf("start = %d, want 77", p.Start())
				}
			}
		})
	}
}

// TestNamespacesOfChild makes children apart from the test in known kinds.
func TestNamespacesOfChild(t *testing.T) {
	own, err := mustPin(t, os.Getpid()).Namespaces()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		flags uintptr
		apart []Kind
	}{
		"none":    {0, nil},
		"root":    {syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS, []Kind{PID, Net, IPC, UTS}},
		"mount":   {syscall.CLONE_NEWNS, []Kind{Mount}},
		"cgroup":  {syscall.CLONE_NEWCGROUP, []Kind{Cgroup}},
		"user":    {syscall.CLONE_NEWUSER, []Kind{User}},
		"userpod": {syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET, []Kind{PID, Net, User}},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := mustPin(t, startChild(t, "wait", tc.flags).Process.Pid).Namespaces()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(slices.Sorted(maps.Keys(set)), slices.Sorted(maps.Keys(own))) {
				t.Fatalf("child has %v, this process %v", set, own)
			}
			var apart []Kind
			for _, m := range Compare(set, own) {
				apart = append(apart, m.Kind)
			}
			if !slices.Equal(apart, tc.apart) {
				t.Errorf("apart in %v, want %v", apart, tc.apart)
			}
		})
	}
}

// TestEnded follows a child from life over zombie to nothing.
func TestEnded(t *testing.T) {
	c := startChild(t, "wait", 0)
	p := mustPin(t, c.Process.Pid)
	id, err := ParseIdentity(c.line)
	if err != nil {
		t.Fatal(err)
	}
	if alive, known := id.Running(); !alive || !known {
		t.Errorf("child runs, Running = %v, %v", alive, known)
	}
	if id.Start != p.Start() || id.PID != p.PID() {
		t.Errorf("child calls itself %v, pinned as %d.%d", id, p.PID(), p.Start())
	}
	check := func(state string) {
		t.Helper()
		if err := p.Alive(); !errdefs.IsNotFound(err) {
			t.Errorf("%s: Alive = %v", state, err)
		}
		if set, err := p.Namespaces(); !errdefs.IsNotFound(err) {
			t.Errorf("%s: Namespaces = %v, %v", state, set, err)
		}
		if text, err := p.Cgroups(); !errdefs.IsNotFound(err) {
			t.Errorf("%s: Cgroups = %q, %v", state, text, err)
		}
		if _, err := Pin(p.PID()); !errdefs.IsNotFound(err) {
			t.Errorf("%s: Pin = %v", state, err)
		}
		if alive, known := id.Running(); alive || !known {
			t.Errorf("%s: Running = %v, %v", state, alive, known)
		}
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// WNOWAIT leaves the zombie in place.
	if err := unix.Waitid(unix.P_PID, p.PID(), nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	check("zombie")
	_ = c.Wait()
	check("reaped")
}

// TestMainThreadGone: the process lives on in its other threads, but the kernel
// shows the namespaces of the first one only.
func TestMainThreadGone(t *testing.T) {
	c := startChild(t, "headless", 0)
	if c.line != "ready true" {
		t.Skipf("the child's main goroutine was not on its main thread: %q", c.line)
	}
	p := mustPin(t, c.Process.Pid)
	for {
		text, err := p.read("stat")
		if err != nil {
			t.Fatal(err)
		}
		if st, err := parseStat(text); err != nil || st.ended() {
			break
		}
	}
	if err := p.Alive(); err != nil {
		t.Errorf("Alive = %v", err)
	}
	set, err := p.Namespaces()
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "main thread") {
		t.Errorf("Namespaces = %v, %v", set, err)
	}
}

func TestPermission(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	c, err := spawn("peek="+strconv.Itoa(os.Getpid()), &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	if err != nil {
		t.Skipf("no child as another user: %v", err)
	}
	t.Cleanup(c.end)
	for _, want := range []string{"CAP_SYS_PTRACE", "hostPID", errdefs.ErrPermissionDenied.Error()} {
		if !strings.Contains(c.line, want) {
			t.Errorf("nobody was told %q, want %q in it", c.line, want)
		}
	}
}

func TestClosed(t *testing.T) {
	p, err := Pin(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
	if err := p.Alive(); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("Alive = %v", err)
	}
	if _, err := p.Namespaces(); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("Namespaces = %v", err)
	}
	if _, err := p.InContainer("x"); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("InContainer = %v", err)
	}
}

// TestDescriptors: a pin costs two descriptors and a refused pin none.
func TestDescriptors(t *testing.T) {
	count := func() int {
		t.Helper()
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	before := count()
	p, err := Pin(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Namespaces(); err != nil {
		t.Fatal(err)
	}
	if got := count() - before; got != 2 {
		t.Errorf("a pin costs %d descriptors, want 2", got)
	}
	p.Close()
	if _, err := pin(t.TempDir(), os.Getpid()); err == nil {
		t.Error("pinned without a /proc")
	}
	if got := count() - before; got != 0 {
		t.Errorf("%d descriptors leaked", got)
	}
}
