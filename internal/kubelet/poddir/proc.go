package poddir

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
)

const (
	// procMagic is PROC_SUPER_MAGIC of linux/magic.h.
	procMagic = 0x9fa0
	// maxLinks is what the kernel follows before it says ELOOP.
	maxLinks = 40
)

// OutsideProc refuses a path that leads through a proc file system, wherever
// that is mounted. The links there are magic: /proc/1/root is the host's root
// to one who follows it, but reads as "/", and a runtime that resolves it by
// its text mounts something else than was looked at. Errors are
// [errdefs.ErrPermissionDenied] for such a path and [errdefs.ErrNotFound] for
// none.
func OutsideProc(path string) error {
	at, rest, links := "/", filepath.Clean(path), 0
	for rest = strings.TrimPrefix(rest, "/"); rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		if err != nil {
			return fmt.Errorf("%s: %w", path, classed(err))
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return fmt.Errorf("%s leads through more than %d links: %w", path, maxLinks, errdefs.ErrFailedPrecondition)
		}
		if err := notProc(path, at); err != nil {
			return err
		}
		target, err := os.Readlink(next)
		if err != nil {
			return fmt.Errorf("%s: %w", path, classed(err))
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = strings.Trim(target, "/") + "/" + rest
		rest = strings.TrimSuffix(rest, "/")
	}
	return notProc(path, at)
}

func notProc(path, at string) error {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(at, &stat); err != nil {
		return fmt.Errorf("%s: %s: %w", path, at, classed(err))
	}
	if stat.Type == procMagic {
		return fmt.Errorf("%s leads into a proc file system at %s, which no runtime can be asked to mount: %w", path, at, errdefs.ErrPermissionDenied)
	}
	return nil
}

// mountOptions returns the options of the super block that a path lies on
// (hostutil_linux.go:GetSELinuxSupport), empty if they cannot be told.
func mountOptions(path string) []string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return optionsIn(string(text), path)
}

// optionsIn takes the last of the longest mount points that hold the path:
// what was mounted later lies on top.
func optionsIn(mountinfo, path string) []string {
	var point string
	var options []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) < 7 {
			continue
		}
		at := unescape(fields[4])
		if len(at) >= len(point) && (at == "/" || path == at || strings.HasPrefix(path, at+"/")) {
			point, options = at, strings.Split(fields[len(fields)-1], ",")
		}
	}
	return options
}

// unescape undoes what the kernel does to a mount point (fs/proc_namespace.c).
func unescape(point string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(point)
}
