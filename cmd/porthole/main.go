// Command porthole opens a debug container inside a running pod from the node
// itself: over the container runtime's CRI socket it does what kubelet does for
// an ephemeral container, without the API server.
//
// This package is the command line: a file per verb, the wiring of the rungs,
// and the one place where errors become exit codes. It is the only user of
// urfave/cli. What does not belong here: anything that a second program could
// want, such as resolving, planning, streaming or cleaning up.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Set by the linker; the zero values are those of a plain go build.
var (
	version = "dev"
	commit  = "unknown"
	date    = "unknown"
)

func main() {
	executable = "/proc/self/exe"
	os.Exit(run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program but for its end, which must come after every defer:
// the terminal is restored and the container removed by then.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := untilSignal(ctx)
	defer stop()
	console := newConsole(stderr)
	app := newApp(stdin, stdout, console)
	args, err := permuteApp(app, args)
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	return report(console, because(ctx, err))
}

// because gives an error its reason when a signal, or output that nobody reads,
// had ended the context by then.
func because(ctx context.Context, err error) error {
	var status commandStatus
	var signal signalled
	switch {
	case err == nil, ctx.Err() == nil, errors.As(err, &status), errors.As(err, &signal):
		return err
	case errors.Is(err, context.Canceled):
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), err)
}
