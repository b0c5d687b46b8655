package nsjoin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// bootDigits is how much of the boot id an [Identity] keeps. All 32 hex digits
// and three numbers do not fit into the 63 characters of a label value; 16 of
// them (64 random bits, less four fixed ones) tell a node's boots apart.
const bootDigits = 16

// labelLimit is the longest label value Kubernetes accepts
// (k8s.io/apimachinery, validation.LabelValueMaxLength).
const labelLimit = 63

// Identity names a process so that another program can judge later whether it
// still runs: across restarts of that program, and without holding anything
// open. It is comparable; the zero Identity names nothing.
type Identity struct {
	// Boot is the first 16 hex digits of the kernel's boot id.
	Boot string
	// PIDNamespace is the inode of the PID namespace in which PID is counted.
	// The kernel keeps these numbers in 32 bits.
	PIDNamespace uint32
	// PID is the process id in that namespace.
	PID int
	// Start is the start time in clock ticks (1/100 s) since boot.
	Start uint64
}

// Self returns the identity of the calling process.
func Self() (Identity, error) {
	return self(procRoot)
}

func self(proc string) (Identity, error) {
	if err := ownProc(proc); err != nil {
		return Identity{}, fmt.Errorf("identity of this process: %w", err)
	}
	id := Identity{PID: os.Getpid()}
	var err error
	if id.Boot, id.PIDNamespace, err = here(proc); err != nil {
		return Identity{}, fmt.Errorf("identity of this process: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(id.PID), "stat"))
	if err != nil {
		return Identity{}, fmt.Errorf("identity of this process: %w: %w", err, errdefs.ErrUnknown)
	}
	st, err := parseStat(string(text))
	if err != nil {
		return Identity{}, fmt.Errorf("identity of this process: %w", err)
	}
	id.Start = st.start
	return id, nil
}

// here returns the boot and the PID namespace that the caller lives in.
func here(proc string) (boot string, pidns uint32, err error) {
	text, err := os.ReadFile(filepath.Join(proc, "sys/kernel/random/boot_id"))
	if err != nil {
		return "", 0, fmt.Errorf("boot id: %w: %w", err, errdefs.ErrUnknown)
	}
	boot = strings.ReplaceAll(strings.TrimSpace(string(text)), "-", "")
	if len(boot) < bootDigits || !isHex(boot) {
		return "", 0, fmt.Errorf("boot id %.40q: not a UUID: %w", text, errdefs.ErrUnknown)
	}
	// The text of the link is the name without a stat, so that it can be read
	// with no privilege at all: `pid:[4026531836]`.
	link, err := os.Readlink(filepath.Join(proc, "self/ns/pid"))
	if err != nil {
		return "", 0, fmt.Errorf("own PID namespace: %w: %w", err, errdefs.ErrUnknown)
	}
	inode, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(link, "pid:["), "]"), 10, 32)
	if err != nil {
		return "", 0, fmt.Errorf("own PID namespace %q: %w: %w", link, err, errdefs.ErrUnknown)
	}
	return boot[:bootDigits], uint32(inode), nil
}

// String returns the identity as `0f3c9a7d21e84b65.4026531836.81234.556677`:
// boot, PID namespace, PID, start. It is a valid label value of at most 59
// characters.
func (id Identity) String() string {
	return fmt.Sprintf("%s.%d.%d.%d", id.Boot, id.PIDNamespace, id.PID, id.Start)
}

// ParseIdentity reads what String wrote. It takes exactly the canonical form,
// since a label is a place where anybody may have written; anything else is
// [errdefs.ErrInvalidArgument].
func ParseIdentity(s string) (Identity, error) {
	malformed := fmt.Errorf("process identity %.80q: want BOOT.PIDNS.PID.START: %w", s, errdefs.ErrInvalidArgument)
	parts := strings.Split(s, ".")
	if len(s) > labelLimit || len(parts) != 4 || len(parts[0]) != bootDigits || !isHex(parts[0]) {
		return Identity{}, malformed
	}
	pidns, errNS := strconv.ParseUint(parts[1], 10, 32)
	pid, errPID := strconv.ParseUint(parts[2], 10, 31)
	start, errStart := strconv.ParseUint(parts[3], 10, 64)
	id := Identity{Boot: parts[0], PIDNamespace: uint32(pidns), PID: int(pid), Start: start}
	if errors.Join(errNS, errPID, errStart) != nil || pidns == 0 || pid == 0 || id.String() != s {
		return Identity{}, malformed
	}
	return id, nil
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}

// Running reports whether the process still runs, and whether that can be known
// from here; alive is never true unless known is.
//
// Another boot: it does not run. The same boot and the caller's own PID
// namespace: /proc decides by start time, and a zombie does not run. Another
// PID namespace, or a /proc that hides processes: unknown.
func (id Identity) Running() (alive, known bool) {
	return id.running(procRoot)
}

func (id Identity) running(proc string) (alive, known bool) {
	boot, pidns, err := here(proc)
	if err != nil || id.Boot == "" {
		return false, false
	}
	if boot != id.Boot {
		return false, true
	}
	// An inode that was freed and handed to a new namespace does no harm here:
	// the old namespace went with its last process, and no process of the new
	// one can have started when the old one did.
	if pidns != id.PIDNamespace || ownProc(proc) != nil {
		return false, false
	}
	text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(id.PID), "stat"))
	if err != nil {
		// hidepid=2 hides living processes behind the same errno.
		absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
		return false, absent && errors.Is(unix.Kill(id.PID, 0), unix.ESRCH)
	}
	st, err := parseStat(string(text))
	if err != nil {
		return false, false
	}
	return st.start == id.Start && !st.ended(), true
}
