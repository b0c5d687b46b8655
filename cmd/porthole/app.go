package main

import (
	"context"
	"io"

	"github.com/urfave/cli/v2"
)

// stdio are the program's own streams, as its verbs see them.
type stdio struct {
	in      io.Reader
	out     io.Writer
	console *console
}

// newApp assembles the command line. All messages go to the console, all data
// to stdout; no error ends the program below main.
func newApp(stdin io.Reader, stdout io.Writer, console *console) *cli.App {
	io := stdio{in: stdin, out: stdout, console: console}
	badUsage := func(_ *cli.Context, err error, _ bool) error { return usageError(err) }
	commands := []*cli.Command{debugCommand(io), podsCommand(io), psCommand(io), inspectCommand(io), gcCommand(io), versionCommand(io), completionCommand(io), startCommand(io)}
	for _, c := range commands {
		// A command without one of its own prints its whole help to stdout.
		c.OnUsageError = badUsage
	}
	return &cli.App{
		Name:                      "porthole",
		Usage:                     "open a debug container inside a running pod, from the node itself",
		UsageText:                 "porthole [global options] COMMAND [options] [arguments]",
		Description:               exitHelp(),
		Flags:                     globalFlags(),
		Commands:                  commands,
		Reader:                    stdin,
		Writer:                    stdout,
		ErrWriter:                 console,
		HideVersion:               true,
		EnableBashCompletion:      true,
		UseShortOptionHandling:    true,
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              badUsage,
		CommandNotFound:           nil,
		Action:                    noCommand,
	}
}

// noCommand answers porthole without a command, and with an unknown one.
func noCommand(c *cli.Context) error {
	if c.Args().Present() {
		return usageErrorf("unknown command %q; 'porthole help' lists the commands", c.Args().First())
	}
	return cli.ShowAppHelp(c)
}

func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "runtime-endpoint", Aliases: []string{"r"}, Usage: "CRI socket of the container runtime, as unix:///PATH (default: the first well-known one that answers)"},
		&cli.StringFlag{Name: "image-endpoint", Usage: "CRI socket of the image service, if it is another"},
		&cli.StringFlag{Name: "config", Usage: "configuration file", DefaultText: "/etc/porthole/config.yaml", EnvVars: []string{"PORTHOLE_CONFIG"}},
		&cli.StringFlag{Name: "kubelet-root", Usage: "kubelet's root directory (default: found from the pod, kubelet's own flags, or /var/lib/kubelet)"},
		&cli.StringFlag{Name: "state-dir", Usage: "where Porthole keeps what must survive it", DefaultText: "/var/lib/porthole"},
		&cli.DurationFlag{Name: "timeout", Usage: "deadline of one question to the runtime", DefaultText: "10s"},
		&cli.BoolFlag{Name: "verbose", Usage: "say what was used and found"},
	}
}

// verb wraps a command's action: settings are read and the runtime is dialled
// before, and closed after.
func verb(io stdio, act func(context.Context, *cli.Context, *node) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		n, err := openNode(c, io)
		if err != nil {
			return err
		}
		defer n.close()
		return act(c.Context, c, n)
	}
}
