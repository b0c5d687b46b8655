package runtime

import (
	"io"
	"time"

	"github.com/containerd/errdefs"
)

// Exit is how a debug container ended.
type Exit struct {
	// Code is the command's own exit code, or 128+n when signal n ended it.
	Code int
	// Reason is the runtime's word for it, such as Completed, Error, OOMKilled.
	Reason   string
	Message  string
	Finished time.Time
}

// Size is that of a terminal, in characters.
type Size struct{ Width, Height uint16 }

// Streams are the caller's ends of a debug container's streams. Nil means that
// a stream is not wanted.
type Streams struct {
	// Stdin is read until EOF; the container's standard input then ends.
	Stdin io.Reader
	// Stdout and Stderr get exactly the container's bytes. With a tty there is
	// only Stdout.
	Stdout io.Writer
	Stderr io.Writer
	// Resizes carries the terminal's size, the first one included.
	Resizes <-chan Size
	// Begin, if set, is called once: when the container runs and is proved to be
	// the right one, before anything is read or written. Its error ends the
	// session.
	Begin func() error
	// Notice is told, in a line without newline, what the user should know of the
	// streams (a runtime that restarts). It may be nil.
	Notice func(line string)
}

// Info is one debug container as found on the node.
type Info struct {
	Container
	Pod  Pod
	Mark Mark
	Exit *Exit // set once it has ended
	// Paths are host directories that are its alone: of its log and its
	// termination log.
	Paths []string
}

// A command that could not be started, with exit codes of their own (127 and
// 126) as in a shell. They carry the classes ErrNotFound and
// ErrPermissionDenied.
var (
	ErrCommandNotFound error = &commandError{"command not found", errdefs.ErrNotFound}
	ErrNotExecutable   error = &commandError{"not executable", errdefs.ErrPermissionDenied}
)

type commandError struct {
	text  string
	class error
}

func (e *commandError) Error() string { return e.text }
func (e *commandError) Unwrap() error { return e.class }
