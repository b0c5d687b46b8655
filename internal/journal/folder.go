package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
)

// folder is a directory with one JSON file per session.
type folder struct {
	path string
	// keeps says that a file which cannot be decoded may be one that is being
	// written; it is removed only when it is old.
	keeps bool
}

func openFolder(path string, keeps bool) (folder, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return folder{}, fmt.Errorf("journal %s: %w", path, err)
	}
	return folder{path, keeps}, nil
}

var sessionName = regexp.MustCompile(`^[a-z0-9]{4,64}$`)

func (d folder) file(session string) (string, error) {
	if !sessionName.MatchString(session) {
		return "", fmt.Errorf("journal: session %q: %w", session, errdefs.ErrInvalidArgument)
	}
	return filepath.Join(d.path, session+".json"), nil
}

// write replaces the session's file as a whole and returns once it would
// survive a loss of power.
func (d folder) write(session string, doc any) (err error) {
	path, err := d.file(session)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	err = d.replace(path, append(data, '\n'))
	if errors.Is(err, fs.ErrNotExist) {
		// A clean-up took the temporary file before it could be locked.
		err = d.replace(path, append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return d.sync()
}

// replace writes the file under a temporary name first, which is locked as long
// as its writer lives.
func (d folder) replace(path string, data []byte) (err error) {
	f, err := os.CreateTemp(d.path, filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
		err = errors.Join(err, f.Close())
	}()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// sweep removes a temporary file whose writer is dead.
func sweep(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		_ = os.Remove(path)
	}
}

// sync makes the directory's own change last.
func (d folder) sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

func (d folder) remove(session string) error {
	path, err := d.file(session)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// old reports whether a file has not been written to for an hour.
func old(f fs.DirEntry) bool {
	info, err := f.Info()
	return err == nil && time.Since(info.ModTime()) > time.Hour
}

// list reads all files. One that decode does not know as the session's is
// removed, as are temporary files of dead writers.
func list[T any](d folder, decode func(session string, data []byte) (T, bool)) ([]T, error) {
	files, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	var out []T
	for _, f := range files {
		path := filepath.Join(d.path, f.Name())
		if strings.HasSuffix(f.Name(), ".tmp") {
			sweep(path)
			continue
		}
		name, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok {
			continue
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // ended meanwhile
		}
		if err != nil {
			continue // that it cannot be read now says nothing of what is in it
		}
		doc, ok := decode(name, data)
		if !ok || !sessionName.MatchString(name) {
			if !d.keeps || old(f) {
				_ = os.Remove(path)
			}
			continue
		}
		out = append(out, doc)
	}
	return out, nil
}
