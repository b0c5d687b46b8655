package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/porthole-project/porthole/internal/agent"
	"github.com/porthole-project/porthole/runtime"
)

// The exit codes of Porthole itself. Every other code is the command's own.
const (
	exitExpired       = 124
	exitOurs          = 125
	exitNotExecutable = 126
	exitNotFound      = 127
	exitSignal        = 128 // plus the signal's number
)

// exitTable is what the help and docs/exit-codes.md say; a test compares them.
var exitTable = []struct{ code, meaning string }{
	{"0–255", "the command's own exit code"},
	{"124", "the session's time was up (--ttl)"},
	{"125", "Porthole could not do what was asked: bad usage, no such pod, runtime or image, namespaces that differ, more written than --storage-limit allows"},
	{"126", "the command was found but cannot be executed"},
	{"127", "the command was not found in the image"},
	{"128+n", "signal n ended the command, or Porthole itself: 129 a closed terminal, 130 ctrl-c, 137 SIGKILL (out of memory, too), 141 output nobody reads, 143 SIGTERM"},
}

// exitHelp renders the table for --help.
func exitHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, row := range exitTable {
		fmt.Fprintf(&b, "   %-7s %s\n", row.code, row.meaning)
	}
	return b.String()
}

// commandStatus carries a command's exit code through cli/v2. It has nothing to
// say.
type commandStatus int

func (s commandStatus) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

// exitCode is the one place where an error becomes an exit code.
func exitCode(err error) int {
	var status commandStatus
	var signal signalled
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &signal):
		return exitSignal + int(signal.sig)
	case errors.Is(err, agent.ErrExpired):
		return exitExpired
	case errors.Is(err, runtime.ErrNotExecutable):
		return exitNotExecutable
	case errors.Is(err, runtime.ErrCommandNotFound):
		return exitNotFound
	}
	return exitOurs
}

// report tells the user about an error, unless it has nothing to tell, and
// returns the exit code.
func report(console *console, err error) int {
	var status commandStatus
	broken := errors.Is(err, signalled{syscall.SIGPIPE}) // as quiet as a death by it would be
	if err != nil && !broken && !errors.As(err, &status) && !errors.Is(err, context.Canceled) {
		console.line("porthole: " + err.Error())
	}
	return exitCode(err)
}
