package cri

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/porthole-project/porthole/runtime"
)

// CRI-O answers many questions about what does not exist with Unknown.
var saysNotFound = regexp.MustCompile(`(?i)could not find|not found: ID does not exist|does not resolve to an image ID|no such (container|pod|image)|with invalid target ID`)

// classify turns a gRPC status into an error of an errdefs class (or of
// context's) whose text is the runtime's own.
func classify(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	text := st.Message()
	var class error = errdefs.ErrUnknown
	switch st.Code() {
	case codes.NotFound:
		class = errdefs.ErrNotFound
	case codes.AlreadyExists:
		class = errdefs.ErrAlreadyExists
	case codes.InvalidArgument:
		class = errdefs.ErrInvalidArgument
	case codes.FailedPrecondition:
		class = errdefs.ErrFailedPrecondition
	case codes.PermissionDenied:
		class = errdefs.ErrPermissionDenied
	case codes.ResourceExhausted:
		class = errdefs.ErrResourceExhausted
	case codes.Unimplemented:
		class = errdefs.ErrNotImplemented
	case codes.Unavailable:
		class = errdefs.ErrUnavailable
	case codes.DeadlineExceeded:
		class, text = context.DeadlineExceeded, "the runtime did not answer in time"
	case codes.Canceled:
		class = context.Canceled
	case codes.Unknown:
		if saysNotFound.MatchString(text) {
			class = errdefs.ErrNotFound
		}
	}
	return &callError{text: text, class: class}
}

// callError keeps the class for errors.Is without repeating its name at the
// end of a text that already says it.
type callError struct {
	text  string
	class error
}

func (e *callError) Error() string { return e.text }
func (e *callError) Unwrap() error { return e.class }

// What runc, crun and the runtimes before them say of a command that cannot be
// executed. containerd reports it from StartContainer, CRI-O from
// CreateContainer.
var (
	// runc: exec: "x": stat x: no such file or directory | executable file not
	// found in $PATH; crun: executable file `x` not found (in $PATH)
	noCommand = regexp.MustCompile("exec: \"[^\"]*\": (stat [^:]*: no such file or directory|executable file not found in \\$PATH)|executable file `[^`]*` not found|open executable: No such file or directory")
	// runc: exec: "x": permission denied | is a directory; or, from the execve
	// itself: exec /x: exec format error | permission denied
	notExecutable = regexp.MustCompile("exec: \"[^\"]*\": (permission denied|is a directory)|exec /[^:]*: (exec format error|permission denied)|the path `[^`]*` (isn't|exists but is not) (an )?executable|open executable: Permission denied")
	// runc, when the command is there but its interpreter or the loader is not.
	noInterpreter = regexp.MustCompile(`exec /[^:]*: no such file or directory`)
	// containerd and CRI-O of a user by name.
	noUser    = regexp.MustCompile(`no users found|no matching entries in passwd file|unable to find user`)
	noWorkdir = regexp.MustCompile(`chdir to cwd \("([^"]*)"\)[^:]*: ([^:"]*)`)
)

// classifyLaunch recognises a command that is not there or cannot be executed
// in what the runtime says about a launch.
func classifyLaunch(err error, command string) error {
	err = classify(err)
	if err == nil {
		return nil
	}
	// CRI-O passes on runc's log line, in which quotes are escaped.
	text := strings.ReplaceAll(err.Error(), `\"`, `"`)
	switch {
	case noCommand.MatchString(text):
		return fmt.Errorf("command %q: %w in the image", command, runtime.ErrCommandNotFound)
	case noInterpreter.MatchString(text):
		return fmt.Errorf("command %q: its interpreter or loader is missing: %w in the image", command, runtime.ErrCommandNotFound)
	case notExecutable.MatchString(text):
		return fmt.Errorf("command %q: %w", command, runtime.ErrNotExecutable)
	}
	if m := noWorkdir.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("working directory %q: %s: %w", m[1], m[2], errdefs.ErrFailedPrecondition)
	}
	return err
}
