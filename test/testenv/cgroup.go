package testenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupRoots lists the mount points of the machine's cgroup hierarchies: one
// with cgroup v2, one for each controller with v1.
func cgroupRoots() ([]string, error) {
	mounts, err := mountsOf("self")
	if err != nil {
		return nil, err
	}
	var roots []string
	for _, m := range mounts {
		if m.fstype == "cgroup" || m.fstype == "cgroup2" {
			roots = append(roots, m.point)
		}
	}
	slices.Sort(roots)
	return slices.Compact(roots), nil
}

// makeCgroups makes the cgroup path in every hierarchy. runc fills in what a
// parent needs (cpuset on v1) when it makes a container below.
func makeCgroups(path string) error {
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if err := os.MkdirAll(filepath.Join(root, path), 0o755); err != nil {
			return fmt.Errorf("cgroup %s: %w", path, err)
		}
	}
	return nil
}

// removeCgroups removes the cgroup path and all below it in every hierarchy.
// The kernel needs a moment after the last process of a cgroup has died.
func removeCgroups(ctx context.Context, path string) error {
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(cleanTimeout)
	for _, root := range roots {
		for {
			err := removeCgroupTree(filepath.Join(root, path))
			if err == nil {
				break
			}
			if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
				return fmt.Errorf("remove cgroup: %w", err)
			}
			if err := pause(ctx, 5*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeCgroupTree removes one directory tree, children first: the files in a
// cgroup cannot be unlinked, so os.RemoveAll does not work here.
func removeCgroupTree(top string) error {
	var dirs []string
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, p)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range slices.Backward(dirs) {
		if err := unix.Rmdir(d); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	return nil
}
