// Package journal keeps two small files per session. An [Entry] is written
// before anything of the session is made and removed after the last of it is
// gone, so that a crash at any moment leaves either nothing or a file that says
// what to look for. A [Record] says what was added to a pod; it stays when the
// container is gone, for as long as the pod is there.
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
	"time"
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
	// Image is to be removed with the session, which pulled it.
	Image string `json:"image,omitempty"`
	// Endpoint is the runtime that has the container: one state directory may see
	// several.
	Endpoint string `json:"endpoint,omitempty"`
}

// Dir is a directory of entries.
type Dir struct{ folder }

// Open makes the directory (0700) if it is not there.
func Open(path string) (*Dir, error) {
	f, err := openFolder(path, false)
	if err != nil {
		return nil, err
	}
	return &Dir{f}, nil
}

// Write puts the entry on disk, replacing an earlier one of the session as a
// whole, and returns once it would survive a loss of power.
func (d *Dir) Write(e Entry) error { return d.write(e.Session, e) }

// Remove forgets a session. One that is not there is no error.
func (d *Dir) Remove(session string) error { return d.remove(session) }

// List reads all entries. A file that cannot be read as one is removed, as are
// temporary files of dead writers: damage must not stop a clean-up, and the runtime's labels
// still tell of the container.
func (d *Dir) List() ([]Entry, error) {
	return list(d.folder, func(session string, data []byte) (e Entry, ok bool) {
		return e, json.Unmarshal(data, &e) == nil && e.Session == session
	})
}
