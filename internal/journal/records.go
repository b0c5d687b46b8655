package journal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// Record is what was added to a pod, and how it went.
type Record struct {
	Session     string `json:"session"`
	Namespace   string `json:"namespace"`
	Pod         string `json:"pod"`
	PodUID      string `json:"podUID"`
	Container   string `json:"container"`
	ContainerID string `json:"containerID,omitempty"`
	Target      string `json:"target,omitempty"`
	Owner       string `json:"owner,omitempty"`
	Image       string `json:"image"`
	Endpoint    string `json:"endpoint,omitempty"` // the runtime that the pod is on
	ImageID     string `json:"imageID,omitempty"`
	// Spec is the v1.EphemeralContainer, and Options what the API cannot say.
	Spec    json.RawMessage   `json:"spec"`
	Options map[string]string `json:"options,omitempty"`
	Created time.Time         `json:"created"`
	Expires time.Time         `json:"expires,omitzero"`
	// The rest is known at the end. Ended stays zero when a crash came first.
	Ended        time.Time `json:"ended,omitzero"`
	Verification string    `json:"verification,omitempty"`
	ExitCode     *int      `json:"exitCode,omitempty"`
	Reason       string    `json:"reason,omitempty"` // the runtime's word
	// Cause says what ended the session if that was not its command.
	Cause string `json:"cause,omitempty"`
}

// maxRecords bounds the directory: of more than that the oldest go.
const maxRecords = 2000

// Records is a directory of records. Each file grows by a line with each change,
// and its last whole line counts: replacing a file makes the disk wait (ext4
// flushes it first), and a session should not. A loss of power may lose the last
// lines; nothing is removed by what they say.
type Records struct{ folder }

// OpenRecords makes the directory (0700) if it is not there.
func OpenRecords(path string) (*Records, error) {
	f, err := openFolder(path, true)
	if err != nil {
		return nil, err
	}
	return &Records{f}, nil
}

// Write keeps the record in the place of an earlier one of the session.
func (r *Records) Write(rec Record) error {
	path, err := r.file(rec.Session)
	if err != nil {
		return err
	}
	line, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	// A line that was torn before must not spoil this one.
	_, err = f.Write(append(append([]byte{'\n'}, line...), '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// Read returns the record of a session, if there is one.
func (r *Records) Read(session string) (Record, bool) {
	path, err := r.file(session)
	if err != nil {
		return Record{}, false
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Record{}, false
	}
	return decodeRecord(session, data)
}

// decodeRecord takes the last line that is whole.
func decodeRecord(session string, data []byte) (Record, bool) {
	lines := bytes.Split(data, []byte{'\n'})
	for _, line := range slices.Backward(lines) {
		var rec Record
		if len(line) > 0 && json.Unmarshal(line, &rec) == nil && rec.Session == session {
			return rec, true
		}
	}
	return Record{}, false
}

// List reads all records, the oldest first.
func (r *Records) List() ([]Record, error) {
	out, err := list(r.folder, decodeRecord)
	slices.SortFunc(out, func(a, b Record) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Session, b.Session))
	})
	return out, err
}

// Names lists the names of the containers that were ever added to the pod.
func (r *Records) Names(podUID string) []string {
	var out []string
	all, _ := r.List() // what cannot be read forbids no name
	for _, rec := range all {
		if rec.PodUID == podUID {
			out = append(out, rec.Container)
		}
	}
	return out
}

// Prune removes the records of pods that are gone, and the oldest if there are
// too many.
func (r *Records) Prune(alive func(Record) bool) error {
	all, err := r.List()
	if err != nil {
		return err
	}
	var errs []error
	kept := all[:0]
	for _, rec := range all {
		if alive(rec) {
			kept = append(kept, rec)
			continue
		}
		errs = append(errs, r.remove(rec.Session))
	}
	for i := 0; i < len(kept)-maxRecords; i++ {
		errs = append(errs, r.remove(kept[i].Session))
	}
	return errors.Join(errs...)
}

// Remove forgets a session that came to nothing. One that is not there is no
// error.
func (r *Records) Remove(session string) error { return r.remove(session) }
