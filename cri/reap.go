package cri

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// cgroupRoot is where control groups are mounted.
const cgroupRoot = "/sys/fs/cgroup"

// Reap removes a container whose keeper died, perhaps in the middle of its
// start. A start that was cancelled kills the OCI runtime, which then leaves the
// container's control group behind; it goes too, if nothing is in it. (Under
// systemd the group is a unit, which systemd removes.)
func (c *Client) Reap(ctx context.Context, id string, grace time.Duration) error {
	_, info, statusErr := c.status(ctx, id, true)
	if err := c.Remove(ctx, id, grace); err != nil {
		return err
	}
	if statusErr == nil {
		removeEmptyGroups(cgroupRoot, info.RuntimeSpec.Linux.CgroupsPath, id)
	}
	return nil
}

// removeEmptyGroups removes the group in the unified hierarchy and in each of
// cgroup v1. rmdir refuses what is in use.
func removeEmptyGroups(root, path, id string) {
	if !strings.HasPrefix(path, "/") || filepath.Clean(path) != path || filepath.Base(path) != id {
		return
	}
	hierarchies := []string{root}
	entries, err := os.ReadDir(root)
	if err != nil {
		return
	}
	for _, e := range entries {
		hierarchies = append(hierarchies, filepath.Join(root, e.Name()))
	}
	for _, h := range hierarchies {
		// Only the group itself can be there, or nothing; what cannot be removed is
		// not ours to force.
		_ = os.Remove(filepath.Join(h, path))
	}
}
