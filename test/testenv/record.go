package testenv

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// registry holds a record file for every node of every process. The process
// that owns a node holds a lock on its record for as long as it lives, so a
// record that can be locked belongs to a dead one and its node can be swept.
const registry = "/run/porthole-testenv"

// record is what it takes to clean up after a node whose owner is gone.
type record struct {
	ID  string `json:"id"`  // eight hex digits
	Dir string `json:"dir"` // everything the node keeps on disk
}

// cgroup is the parent of all cgroups of the node, in every hierarchy.
func (r record) cgroup() string { return "/porthole-" + r.ID }

func (r record) path() string { return filepath.Join(registry, r.ID+".json") }

// newID returns a name part that is short enough for an interface name.
func newID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never returns an error
	return hex.EncodeToString(b[:])
}

// register writes the record and locks it. Closing the returned file, or the
// end of this process, unlocks it. The caller holds the registry lock.
func (r record) register() (*os.File, error) {
	f, err := os.OpenFile(r.path(), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("record of node %s: %w", r.ID, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = json.NewEncoder(f).Encode(r)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("record of node %s: %w", r.ID, err), f.Close())
	}
	return f, nil
}

// lockRegistry makes the registry and takes its lock, which guards records and
// the choice of subnets. Close the file to unlock.
func lockRegistry() (*os.File, error) {
	if err := os.MkdirAll(registry, 0o700); err != nil {
		return nil, fmt.Errorf("registry of test nodes: run as root: %w", err)
	}
	f, err := os.Open(registry)
	if err != nil {
		return nil, fmt.Errorf("registry of test nodes: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", registry, err), f.Close())
	}
	return f, nil
}

// Sweep removes what nodes of dead processes left: processes, mounts, cgroups,
// bridges and directories. Nodes whose owner lives are not touched. Start
// calls it; with nothing to do it costs one directory listing.
func Sweep(ctx context.Context) error {
	lock, err := lockRegistry()
	if err != nil {
		return err
	}
	defer lock.Close()
	return sweep(ctx)
}

// sweep is Sweep for a caller that holds the registry lock.
func sweep(ctx context.Context) error {
	paths, err := filepath.Glob(filepath.Join(registry, "*.json"))
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range paths {
		errs = append(errs, sweepRecord(ctx, p))
	}
	return errors.Join(errs...)
}

// sweepRecord cleans up after the record at path unless its owner lives.
func sweepRecord(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // its owner removed it just now
	}
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // its owner lives
	}
	if !isAt(f, path) {
		return nil // its owner stopped the node before we got the lock
	}
	var r record
	id := strings.TrimSuffix(filepath.Base(path), ".json")
	if err := json.NewDecoder(f).Decode(&r); err != nil || r.ID != id || !filepath.IsAbs(r.Dir) {
		// The owner died while it wrote the record, before it made anything.
		return os.Remove(path)
	}
	if err := r.clean(ctx); err != nil {
		return fmt.Errorf("sweep node %s of a process that is gone: %w", r.ID, err)
	}
	return nil
}

// isAt reports whether path still is the open file f.
func isAt(f *os.File, path string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(path)
	return err == nil && os.SameFile(opened, now)
}
