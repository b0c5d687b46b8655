package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
)

// Version names a containerd release line that the tests run against.
type Version string

const (
	// V16 is the distribution's containerd 1.6 with its own shim and runc 1.1:
	// the oldest runtime Porthole promises to work with.
	V16 Version = "1.6"
	// V24 is containerd 2.4 with runc 1.5, built by test/setup into CacheDir.
	// It is the only one of the two that knows user namespaces.
	V24 Version = "2.4"
)

// built24 is the directory under CacheDir where test/setup puts containerd
// 2.4, its shim, ctr and runc 1.5.
const built24 = "containerd-2.4.2"

// Versions returns every version the tests cover, oldest first.
func Versions() []Version { return []Version{V16, V24} }

// CacheDir is where test/setup and this package keep what takes long to make:
// PORTHOLE_CACHE, or porthole under the user's cache directory.
func CacheDir() (string, error) {
	if dir := os.Getenv("PORTHOLE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache directory of the test nodes: set PORTHOLE_CACHE: %w", err)
	}
	return filepath.Join(dir, "porthole"), nil
}

// binaries are the programs that make up one version of the runtime.
type binaries struct {
	containerd string
	shim       string
	runc       string
}

// path is the search path for containerd itself: its own directory first, so
// that it finds the shim of the same release.
func (b binaries) path() string {
	dirs := []string{filepath.Dir(b.shim), filepath.Dir(b.runc), "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
	return strings.Join(dirs, string(os.PathListSeparator))
}

// binaries locates the programs of v and returns errdefs.ErrNotFound naming
// the first one that is missing.
func (v Version) binaries() (binaries, error) {
	var b binaries
	switch v {
	case V16:
		b = binaries{
			containerd: "/usr/bin/containerd",
			shim:       "/usr/bin/containerd-shim-runc-v2",
			runc:       "/usr/sbin/runc",
		}
	case V24:
		cache, err := CacheDir()
		if err != nil {
			return binaries{}, err
		}
		dir := filepath.Join(cache, built24)
		b = binaries{
			containerd: filepath.Join(dir, "containerd"),
			shim:       filepath.Join(dir, "containerd-shim-runc-v2"),
			runc:       filepath.Join(dir, "runc"),
		}
	default:
		return binaries{}, fmt.Errorf("containerd %q: known versions are %v: %w", v, Versions(), errdefs.ErrInvalidArgument)
	}
	for _, p := range []string{b.containerd, b.shim, b.runc} {
		if _, err := os.Stat(p); err != nil {
			return binaries{}, fmt.Errorf("containerd %s: %s is missing, run test/setup: %w", v, p, errdefs.ErrNotFound)
		}
	}
	return b, nil
}
