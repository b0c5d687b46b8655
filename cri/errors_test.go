package cri

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/porthole-project/porthole/cri/critest"
	"github.com/porthole-project/porthole/runtime"
)

// TestClassifyRecordedRefusals: whatever the two runtimes call it, what is not
// there is ErrNotFound, and the text stays the runtime's.
func TestClassifyRecordedRefusals(t *testing.T) {
	notFound := map[string]bool{"no such container": true, "no such sandbox": true, "image absent": true, "target unknown": true, "removed": true}
	other := map[string]error{"same name again": errdefs.ErrFailedPrecondition, "attach, no stream": errdefs.ErrInvalidArgument}
	for _, name := range recordings {
		seen := 0
		for _, row := range critest.Load(t, name).Rows() {
			if row.Code == codes.OK {
				continue
			}
			seen++
			err := classify(status.Error(row.Code, row.Message))
			if err.Error() != row.Message {
				t.Errorf("%s, %s: text %q", name, row.Why, err)
			}
			var want error = errdefs.ErrUnknown
			switch {
			case notFound[row.Why]:
				want = errdefs.ErrNotFound
			case row.Code != codes.Unknown && other[row.Why] != nil:
				want = other[row.Why]
			}
			if !errors.Is(err, want) {
				t.Errorf("%s, %s to %s: %v is not %v", name, row.Why, row.Method, err, want)
			}
		}
		if seen < 10 {
			t.Errorf("%s: only %d refusals were recorded", name, seen)
		}
	}
}

func TestClassify(t *testing.T) {
	for code, want := range map[codes.Code]error{
		codes.NotFound: errdefs.ErrNotFound, codes.AlreadyExists: errdefs.ErrAlreadyExists, codes.InvalidArgument: errdefs.ErrInvalidArgument,
		codes.FailedPrecondition: errdefs.ErrFailedPrecondition, codes.PermissionDenied: errdefs.ErrPermissionDenied,
		codes.ResourceExhausted: errdefs.ErrResourceExhausted, codes.Unimplemented: errdefs.ErrNotImplemented,
		codes.Unavailable: errdefs.ErrUnavailable, codes.DeadlineExceeded: context.DeadlineExceeded, codes.Canceled: context.Canceled,
		codes.Unknown: errdefs.ErrUnknown, codes.Internal: errdefs.ErrUnknown, codes.DataLoss: errdefs.ErrUnknown,
	} {
		if err := classify(status.Error(code, "text")); !errors.Is(err, want) {
			t.Errorf("%s: %v is not %v", code, err, want)
		}
	}
	if classify(nil) != nil {
		t.Error("nothing became an error")
	}
	if plain := errors.New("plain"); !errors.Is(classify(plain), plain) {
		t.Error("an error that is no status was changed")
	}
	if text := classify(status.Error(codes.DeadlineExceeded, "context deadline exceeded")).Error(); text != "the runtime did not answer in time" {
		t.Error(text)
	}
	// Only Unknown is read: a code that says something is believed.
	if err := classify(status.Error(codes.Internal, "could not find it")); errdefs.IsNotFound(err) {
		t.Error(err)
	}
}

func TestClassifyLaunch(t *testing.T) {
	const shim = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
	const conmon = `container create failed: time="2026-11-22T18:36:25Z" level=error msg="runc create failed: unable to start container process: error during container init: `
	for _, c := range []struct {
		what, text string
		want       error
		says       string
	}{
		{"runc 1.1", shim + `exec: "nope": executable file not found in $PATH: unknown`, runtime.ErrCommandNotFound, `command "cmd": command not found in the image`},
		{"runc 1.5", shim + `error during container init: exec: "/no/such": stat /no/such: no such file or directory`, runtime.ErrCommandNotFound, "not found in the image"},
		{"runc below CRI-O", conmon + `exec: \"/no/such\": stat /no/such: no such file or directory"` + "\n", runtime.ErrCommandNotFound, "not found in the image"},
		{"runc below CRI-O, in PATH", conmon + `exec: \"nope\": executable file not found in $PATH"` + "\n", runtime.ErrCommandNotFound, ""},
		{"crun, in PATH", "container create failed: executable file `nope` not found in $PATH: No such file or directory", runtime.ErrCommandNotFound, ""},
		{"crun", "crun: executable file `/no/such` not found: No such file or directory: OCI runtime attempted to invoke a command that was not found", runtime.ErrCommandNotFound, ""},
		{"crun, old", "crun: open executable: No such file or directory", runtime.ErrCommandNotFound, ""},
		{"runc, no loader", shim + "exec /app: no such file or directory: unknown", runtime.ErrCommandNotFound, "its interpreter or loader is missing"},
		{"runc, no permission", shim + `exec: "/etc/passwd": permission denied: unknown`, runtime.ErrNotExecutable, `command "cmd": not executable`},
		{"runc, directory", shim + `exec: "/etc": is a directory: unknown`, runtime.ErrNotExecutable, ""},
		{"runc below CRI-O, no permission", conmon + `exec: \"/etc/passwd\": permission denied"` + "\n", runtime.ErrNotExecutable, ""},
		{"runc, other format", shim + "exec /app: exec format error: unknown", runtime.ErrNotExecutable, ""},
		{"runc, noexec mount", shim + "exec /mnt/app: permission denied: unknown", runtime.ErrNotExecutable, ""},
		{"crun, no permission", "crun: open executable: Permission denied: OCI permission denied", runtime.ErrNotExecutable, ""},
		{"runc, working directory", shim + `chdir to cwd ("/root") set in config.json failed: permission denied: unknown`, errdefs.ErrFailedPrecondition, `working directory "/root": permission denied`},
		{"runc below CRI-O, working directory", conmon + `chdir to cwd (\"/root\") set in config.json failed: permission denied"` + "\n", errdefs.ErrFailedPrecondition, `working directory "/root": permission denied`},
		{"anything else", "failed to mount rootfs: no such file or directory", errdefs.ErrUnknown, "failed to mount rootfs"},
	} {
		err := classifyLaunch(status.Error(codes.Unknown, c.text), "cmd")
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %v that says %q", c.what, err, c.want, c.says)
		}
		notFound, notExecutable := errors.Is(err, runtime.ErrCommandNotFound), errors.Is(err, runtime.ErrNotExecutable)
		if notFound != errors.Is(c.want, runtime.ErrCommandNotFound) || notExecutable != errors.Is(c.want, runtime.ErrNotExecutable) {
			t.Errorf("%s: exit code 127 is %v, 126 is %v", c.what, notFound, notExecutable)
		}
	}
	if err := classifyLaunch(nil, "cmd"); err != nil {
		t.Error(err)
	}
}

// A refusal to make the container must not look like a missing command: the
// exit code would lie.
func TestRecordedRefusalsAreNoMissingCommands(t *testing.T) {
	for _, name := range recordings {
		for _, row := range critest.Load(t, name).Rows() {
			if row.Code == codes.OK {
				continue
			}
			err := classifyLaunch(status.Error(row.Code, row.Message), "cmd")
			if got, want := errors.Is(err, runtime.ErrCommandNotFound), row.Why == "command missing"; got != want {
				t.Errorf("%s, %s: %v; a missing command: %v", name, row.Why, err, want)
			}
		}
	}
}
