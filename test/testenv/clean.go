package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// cleanTimeout is how long killed processes and busy cgroups get to go away.
const cleanTimeout = 10 * time.Second

// clean removes everything a node left, living or dead, record last: if it is
// interrupted the next Sweep goes on. It never touches what is not the node's:
// processes are recognised by the node's directory or cgroup, mounts and files
// by the directory, cgroups and the bridge by name.
func (r record) clean(ctx context.Context) error {
	if err := r.killAll(ctx); err != nil {
		return err
	}
	sockets := r.shimSockets16()
	if err := r.unmountAll(); err != nil {
		return err
	}
	errs := []error{
		removeCgroups(ctx, r.cgroup()),
		removeBridge(ctx, bridgeName(r.ID)),
		removeCNICache(r.Dir),
	}
	for _, s := range sockets {
		if err := os.Remove(s); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := os.RemoveAll(r.Dir); err != nil {
		return err
	}
	return os.Remove(r.path())
}

// killAll kills the node's processes until none is left: containerd and the
// shims name the directory in their arguments; the rest are in its cgroups or
// have their root file system on its snapshots.
func (r record) killAll(ctx context.Context) error {
	deadline := time.Now().Add(cleanTimeout)
	for {
		pids, err := r.processes()
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of node %s do not die: %w", pids, r.ID, context.DeadlineExceeded)
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
}

// processes lists the node's living processes, this one excluded.
func (r record) processes() ([]int, error) {
	var pids []int
	err := eachProcess(func(pid int) {
		if pid == os.Getpid() || isZombie(pid) {
			return
		}
		if r.namesDir(pid) || r.inCgroup(pid) || r.rootedIn(pid) {
			pids = append(pids, pid)
		}
	})
	return pids, err
}

// namesDir reports whether pid is a containerd or a shim that names a path of
// the node in its arguments. Other programs may name it too: they are a
// test's own, and not ours to kill.
func (r record) namesDir(pid int) bool {
	argv := cmdline(pid)
	if len(argv) == 0 || !strings.HasPrefix(filepath.Base(argv[0]), "containerd") {
		return false
	}
	return slices.ContainsFunc(argv[1:], func(arg string) bool {
		return strings.HasPrefix(arg, r.Dir+"/")
	})
}

// cmdline returns the arguments of pid, none if it is gone or a zombie.
func cmdline(pid int) []string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}

// inCgroup reports whether pid is below the node's cgroup in any hierarchy.
func (r record) inCgroup(pid int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return bytes.Contains(text, []byte(":"+r.cgroup()+"/"))
}

// rootedIn reports whether the root of pid's mount namespace is an overlay
// over the node's snapshots.
func (r record) rootedIn(pid int) bool {
	mounts, _ := mountsOf(strconv.Itoa(pid))
	return slices.ContainsFunc(mounts, func(m mount) bool {
		return m.point == "/" && strings.Contains(m.options, r.Dir+"/")
	})
}

// eachProcess calls f for every process in /proc.
func eachProcess(f func(pid int)) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			f(pid)
		}
	}
	return nil
}

// isZombie reports whether pid is dead, gone or waiting for its parent.
func isZombie(pid int) bool {
	s := state(fmt.Sprintf("/proc/%d/stat", pid))
	return s == 0 || s == 'Z' || s == 'X'
}

// allStopped reports whether every thread of pid is stopped. The kernel stops
// them one by one, after kill has returned.
func allStopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	return !slices.ContainsFunc(threads, func(stat string) bool {
		s := state(stat)
		return s != 0 && s != 'T'
	})
}

// state returns the letter that a stat file has for its process or thread, 0
// if it is gone.
func state(file string) byte {
	stat, _ := os.ReadFile(file)
	// The name before it may hold anything, parentheses too.
	i := bytes.LastIndex(stat, []byte(") "))
	if i < 0 || i+2 >= len(stat) {
		return 0
	}
	return stat[i+2]
}

// mount is a line of mountinfo.
type mount struct {
	point   string
	fstype  string
	options string // of the superblock
}

// mountsOf reads the mounts of a process, in the order they were made.
func mountsOf(pid string) ([]mount, error) {
	text, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		return nil, err
	}
	var mounts []mount
	for line := range strings.Lines(string(text)) {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 {
			continue
		}
		mounts = append(mounts, mount{point: left[4], fstype: right[0], options: right[2]})
	}
	return mounts, nil
}

// mounts lists the mount points under the node's directory, deepest last.
func (r record) mounts() ([]string, error) {
	all, err := mountsOf("self")
	if err != nil {
		return nil, err
	}
	var points []string
	for _, m := range all {
		if strings.HasPrefix(m.point, r.Dir+"/") {
			points = append(points, m.point)
		}
	}
	return points, nil
}

// unmountAll detaches every mount under the node's directory, newest first.
func (r record) unmountAll() error {
	points, err := r.mounts()
	if err != nil {
		return err
	}
	for _, p := range slices.Backward(points) {
		if err := unix.Unmount(p, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", p, err)
		}
	}
	if points, err = r.mounts(); err == nil && len(points) > 0 {
		return fmt.Errorf("%d mounts are left under %s: %w", len(points), r.Dir, errdefs.ErrFailedPrecondition)
	}
	return err
}

// shimSockets16 lists the sockets of 1.6 shims, which live in a directory
// shared with any other containerd and are named by a hash. A killed shim
// leaves its socket; the bundle's address file says which it was.
func (r record) shimSockets16() []string {
	files, _ := filepath.Glob(filepath.Join(layout{r.Dir}.state(), "io.containerd.runtime.v2.task", "*", "*", "address"))
	var sockets []string
	for _, f := range files {
		text, _ := os.ReadFile(f)
		p, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "unix://")
		if ok && filepath.Dir(p) == "/run/containerd/s" {
			sockets = append(sockets, p)
		}
	}
	slices.Sort(sockets)
	return slices.Compact(sockets)
}

// pause sleeps for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
