package nsjoin

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
)

// Positions in /proc/PID/stat counted from the state, the first field after the
// command name (proc_pid_stat(5) counts it as field 3 and the start as 22).
const (
	statState = 0
	statStart = 22 - 3
)

// stat is the part of /proc/PID/stat that tells processes apart.
type stat struct {
	pid   int
	comm  string
	state byte
	// start is in clock ticks (1/100 s) since boot, as seen from the reader's
	// time namespace. Two holders of one PID may share a tick, which is why a
	// pidfd is better wherever one can be held.
	start uint64
}

// ended reports whether the process has exited: a zombie keeps its entry and
// its start time until its parent asks for the exit status.
func (s stat) ended() bool {
	return s.state == 'Z' || s.state == 'X' || s.state == 'x'
}

// parseStat reads the text of /proc/PID/stat. A process chooses its own name,
// spaces and parentheses included, so only the last ')' ends it.
func parseStat(text string) (stat, error) {
	malformed := func(why string) (stat, error) {
		return stat{}, fmt.Errorf("stat line %.80q: %s: %w", text, why, errdefs.ErrInvalidArgument)
	}
	open, shut := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || shut < open {
		return malformed("no command name in parentheses")
	}
	pid, err := strconv.ParseUint(strings.TrimSpace(text[:open]), 10, 31)
	if err != nil || pid == 0 {
		return malformed("no process id in front of the name")
	}
	fields := strings.Fields(text[shut+1:])
	if len(fields) <= statStart {
		return malformed("too few fields after the name")
	}
	if len(fields[statState]) != 1 {
		return malformed("state is not one letter")
	}
	start, err := strconv.ParseUint(fields[statStart], 10, 64)
	if err != nil {
		return malformed("start time is not a number")
	}
	return stat{pid: int(pid), comm: text[open+1 : shut], state: fields[statState][0], start: start}, nil
}
