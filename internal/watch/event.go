package watch

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Op is a set of things that happened.
type Op uint16

// What can happen. All but Gone and Overflow are about the file that the
// [Event] names.
const (
	// Create: a file, link or directory of this name appeared.
	Create Op = 1 << iota
	// Modify: the file was written or truncated, once or often.
	Modify
	// CloseWrite: somebody who had the file open for writing has closed it.
	// The name is the one the file has now, also after a rename.
	CloseWrite
	// MovedFrom: the file lost this name, by a rename.
	MovedFrom
	// MovedTo: a file got this name, by a rename, perhaps replacing another.
	MovedTo
	// Delete: this name was removed. The file lives on while it is open.
	Delete
	// Gone: the directory itself was removed, renamed or unmounted. It is the
	// last event.
	Gone
	// Overflow: events were lost. Look at the directory again.
	Overflow
)

var opNames = [...]string{"create", "modify", "close-write", "moved-from", "moved-to", "delete", "gone", "overflow"}

// Has reports whether op includes every one of the wanted.
func (op Op) Has(wanted Op) bool { return op&wanted == wanted }

// String returns the names of what happened, joined by "|".
func (op Op) String() string {
	var names []string
	for i, name := range opNames {
		if op.Has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// Event is one change. Name is the file's name in the directory, without a
// path; it is empty for Gone and Overflow.
type Event struct {
	Name string
	Op   Op
}

// String returns the event as `close-write 0.log`.
func (e Event) String() string {
	return strings.TrimSuffix(e.Op.String()+" "+e.Name, " ")
}

// mask is what the kernel is asked for; IN_IGNORED, IN_UNMOUNT and
// IN_Q_OVERFLOW come unasked.
const mask = unix.IN_CREATE | unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
	unix.IN_DELETE | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

var opOf = [...]struct {
	bits uint32
	op   Op
}{
	{unix.IN_CREATE, Create},
	{unix.IN_MODIFY, Modify},
	{unix.IN_CLOSE_WRITE, CloseWrite},
	{unix.IN_MOVED_FROM, MovedFrom},
	{unix.IN_MOVED_TO, MovedTo},
	{unix.IN_DELETE, Delete},
	{unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_UNMOUNT | unix.IN_IGNORED, Gone},
	{unix.IN_Q_OVERFLOW, Overflow},
}

// decode turns what one read of an inotify descriptor returned into events.
// The layout is inotify(7)'s struct inotify_event in the machine's byte order,
// the name padded with zeros.
func decode(buf []byte) ([]Event, error) {
	var events []Event
	for len(buf) > 0 {
		if len(buf) < unix.SizeofInotifyEvent {
			return events, fmt.Errorf("inotify event of %d bytes, want %d", len(buf), unix.SizeofInotifyEvent)
		}
		bits, size := binary.NativeEndian.Uint32(buf[4:]), binary.NativeEndian.Uint32(buf[12:])
		buf = buf[unix.SizeofInotifyEvent:]
		if uint64(size) > uint64(len(buf)) {
			return events, fmt.Errorf("inotify event with a name of %d bytes, only %d there", size, len(buf))
		}
		name := strings.TrimRight(string(buf[:size]), "\x00")
		buf = buf[size:]
		if op := translate(bits); op.Has(Gone) || op.Has(Overflow) {
			events = append(events, Event{Op: op})
		} else if op != 0 {
			events = append(events, Event{Name: name, Op: op})
		}
	}
	return events, nil
}

func translate(bits uint32) Op {
	var op Op
	for _, o := range opOf {
		if bits&o.bits != 0 {
			op |= o.op
		}
	}
	return op
}
