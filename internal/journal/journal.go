// Package journal keeps one small file per session: written before anything of
// the session is made, removed after the last of it is gone. So a crash at any
// moment leaves either nothing or a file that says what to look for.
//
// The runtime's labels are the truth about a container; the journal adds what
// they cannot hold (files made before the container, the outcome of the
// verification). Its loss does no harm but to leave an empty log directory until
// the pod goes.
//
// What does not belong here: deciding what to remove (package agent), and the
// audit, which is never removed.
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

// Entry is what is known of one session.
type Entry struct {
	Session   string    `json:"session"`
	Keeper    string    `json:"keeper"` // identity of the process that ends it
	Namespace string    `json:"namespace"`
	Pod       string    `json:"pod"`
	PodUID    string    `json:"podUID"`
	Container string    `json:"container"` // the debug container's name
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires,omitzero"`
	// Paths are host directories made for this session alone; each ends in the
	// container's name.
	Paths []string `json:"paths,omitempty"`
	// ContainerID and Verification are known after the start.
	ContainerID  string `json:"containerID,omitempty"`
	Verification string `json:"verification,omitempty"`
}

// Dir is a directory of entries.
type Dir struct{ path string }

// Open makes the directory (0700) if it is not there.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	return &Dir{path: path}, nil
}

var sessionName = regexp.MustCompile(`^[a-z0-9]{4,64}$`)

func (d *Dir) file(session string) (string, error) {
	if !sessionName.MatchString(session) {
		return "", fmt.Errorf("journal: session %q: %w", session, errdefs.ErrInvalidArgument)
	}
	return filepath.Join(d.path, session+".json"), nil
}

// Write puts the entry on disk, replacing an earlier one of the session as a
// whole, and returns once it would survive a loss of power.
func (d *Dir) Write(e Entry) (err error) {
	path, err := d.file(e.Session)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(e, "", "  ")
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
func (d *Dir) replace(path string, data []byte) (err error) {
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
func (d *Dir) sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// Remove forgets a session. One that is not there is no error.
func (d *Dir) Remove(session string) error {
	path, err := d.file(session)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// List reads all entries. A file that cannot be read as one is removed, as are
// temporary files of dead writers: damage must not stop a clean-up, and the runtime's labels
// still tell of the container.
func (d *Dir) List() ([]Entry, error) {
	files, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	var out []Entry
	for _, f := range files {
		path := filepath.Join(d.path, f.Name())
		if strings.HasSuffix(f.Name(), ".tmp") {
			sweep(path)
			continue
		}
		session, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok {
			continue
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // ended meanwhile
		}
		var e Entry
		if err != nil || json.Unmarshal(data, &e) != nil || e.Session != session || !sessionName.MatchString(session) {
			_ = os.Remove(path)
			continue
		}
		out = append(out, e)
	}
	return out, nil
}
