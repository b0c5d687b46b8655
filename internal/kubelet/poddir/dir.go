// Package poddir reads what kubelet keeps on disk for one pod, in
// ROOT/pods/UID: the volumes that it has prepared, the configMaps and secrets
// in them, and files with environment variables.
//
// Its one idea is *what did kubelet prepare for this pod*, as the volume
// plugins of kubelet 1.37 do it. The volumes' contents are the pod's, so they
// are read without leaving the volume, and nothing is handed out that is a link
// or lies in a proc file system: a runtime that resolves such a path mounts
// what the pod chooses.
//
// What does not belong here: where the directory is (package kubelet), what the
// pod's spec is (package podspec), and what a container is to be given, which
// callers decide. Nothing is written.
package poddir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
)

// A Dir is one pod's directory.
type Dir struct{ path string }

// At returns the pod's directory at this path, ROOT/pods/UID. It is looked at
// when something is asked of it.
func At(path string) Dir { return Dir{path} }

// open opens the directory so that nothing below it leads out of it.
func (d Dir) open() (*os.Root, error) {
	info, err := os.Lstat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("pod directory %s does not exist; is the pod of this node and its kubelet's root another: %w", d.path, errdefs.ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("pod directory: %w", classed(err))
	case !info.IsDir():
		return nil, fmt.Errorf("pod directory %s is %s: %w", d.path, describe(info.Mode()), errdefs.ErrFailedPrecondition)
	}
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, fmt.Errorf("pod directory: %w", classed(err))
	}
	return root, nil
}

// prepared returns the absolute path of something that kubelet made below the
// pod's directory. No element may be a link, and the last must be a directory
// or a file (a CSI driver may mount one).
func (d Dir) prepared(root *os.Root, elements ...string) (string, error) {
	rel := ""
	for i, element := range elements {
		rel = filepath.Join(rel, element)
		info, err := root.Lstat(rel)
		if err != nil {
			return "", fmt.Errorf("%s: %w", filepath.Join(d.path, rel), classed(err))
		}
		last := i == len(elements)-1
		if !info.IsDir() && (!last || !info.Mode().IsRegular()) {
			return "", fmt.Errorf("%s is %s, and kubelet makes directories: %w", filepath.Join(d.path, rel), describe(info.Mode()), errdefs.ErrFailedPrecondition)
		}
	}
	path := filepath.Join(d.path, rel)
	return path, OutsideProc(path)
}

// list names what is in a directory of the pod's; one that does not exist is
// empty. It looks at nothing that is mounted there: that may hang.
func list(root *os.Root, dir string) ([]fs.DirEntry, error) {
	f, err := root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, classed(err)
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, classed(err)
	}
	return entries, nil
}

// read reads a regular file below root, links within it resolved, of at most
// limit bytes.
func read(root *os.Root, name string, limit int) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return nil, classed(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, classed(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is %s, not a regular file: %w", f.Name(), describe(info.Mode()), errdefs.ErrFailedPrecondition)
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, classed(err)
	}
	if len(text) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes: %w", f.Name(), limit, errdefs.ErrOutOfRange)
	}
	return text, nil
}

// classed gives an error of the file system the class that callers ask for.
func classed(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", err, errdefs.ErrNotFound)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", err, errdefs.ErrPermissionDenied)
	}
	return fmt.Errorf("%w: %w", err, errdefs.ErrFailedPrecondition)
}

func describe(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode.IsRegular():
		return "a file"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "neither a file nor a directory"
}

// element refuses what would leave the directory it is joined to.
func element(what, s string) error {
	if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/\\\x00") {
		return fmt.Errorf("%s %q: not a plain name: %w", what, s, errdefs.ErrInvalidArgument)
	}
	return nil
}
