// Package cgroup caps the number of processes in a running container on nodes
// with cgroup v1, where the CRI has no way to ask for it.
//
// What does not belong here: what a request can carry (package runtime's
// Resources), and any other change of a cgroup: they are the runtime's.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
)

// Files is where the kernel shows processes and cgroups. The zero value is this
// machine's.
type Files struct{ Proc, Cgroups string }

func (f Files) proc(pid int, name string) string {
	root := f.Proc
	if root == "" {
		root = "/proc"
	}
	return filepath.Join(root, strconv.Itoa(pid), name)
}

// LimitPids writes limit into the pids cgroup of the container of this ID, in
// which process pid runs. The ID must be in the cgroup's own name, so that never
// another container's, or the node's, is changed. ErrNotFound: the process has
// ended. ErrNotImplemented: the node has no pids cgroups (v1).
func (f Files) LimitPids(pid int, id string, limit int64) error {
	own, err := f.pidsCgroup(pid)
	if err != nil {
		return err
	}
	if len(id) < 12 || !strings.Contains(path.Base(own), id) {
		return fmt.Errorf("process %d is in cgroup %q, which is not container %.13s's: %w", pid, own, id, errdefs.ErrFailedPrecondition)
	}
	root := f.Cgroups
	if root == "" {
		root = "/sys/fs/cgroup"
	}
	dir, err := os.OpenRoot(filepath.Join(root, "pids"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no pids cgroups under %s: %w", root, errdefs.ErrNotImplemented)
	}
	if err != nil {
		return fmt.Errorf("pids cgroups: %w", err)
	}
	defer dir.Close()
	file, err := dir.OpenFile(strings.TrimPrefix(path.Join(own, "pids.max"), "/"), os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cgroup %q has gone: %w", own, errdefs.ErrNotFound)
	}
	if err == nil {
		_, err = file.WriteString(strconv.FormatInt(limit, 10))
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return fmt.Errorf("cgroup %q: %w", own, err)
	}
	return nil
}

// pidsCgroup reads the path of the process's pids cgroup (proc_pid_cgroup(5)).
func (f Files) pidsCgroup(pid int) (string, error) {
	data, err := os.ReadFile(f.proc(pid, "cgroup"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(data) == 0 {
		return "", fmt.Errorf("process %d has ended: %w", pid, errdefs.ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("cgroups of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) == 3 && parts[1] == "pids" {
			return path.Clean("/" + parts[2]), nil
		}
	}
	return "", fmt.Errorf("process %d is in no pids cgroup: %w", pid, errdefs.ErrNotImplemented)
}
