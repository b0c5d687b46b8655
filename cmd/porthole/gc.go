package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/porthole-project/porthole/internal/agent"
)

func gcCommand(io stdio) *cli.Command {
	return &cli.Command{
		Name:      "gc",
		Usage:     "remove debug containers that have ended, expired or lost their keeper",
		UsageText: "porthole gc [--all [--yes]] [--dry-run]",
		Description: "A container without Porthole's label is never touched, and a colleague's live session only\n" +
			"with --all.",
		HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "also live sessions, after asking"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only say what would be removed"},
		},
		Action: verb(io, func(ctx context.Context, c *cli.Context, n *node) error {
			if c.Args().Present() {
				return usageErrorf("gc takes no argument, not %q", c.Args().First())
			}
			all := c.Bool("all")
			if all || c.Bool("dry-run") {
				doomed, err := n.engine.Doomed(ctx, all)
				if err != nil {
					return err
				}
				if c.Bool("dry-run") {
					return printRemoved(n, doomed)
				}
				if ok, err := confirmed(n, c.Bool("yes"), doomed); !ok || err != nil {
					return err
				}
			}
			removed, err := n.engine.Collect(ctx, all)
			if printErr := printRemoved(n, removed); err == nil {
				err = printErr
			}
			return err
		}),
	}
}

func printRemoved(n *node, removed []agent.Removed) error {
	t := table{header: []string{"SESSION", "POD", "CONTAINER", "WHY"}, wide: 4}
	for _, r := range removed {
		t.rows = append(t.rows, []string{r.Session, r.Pod, r.Container, r.Why})
	}
	if len(removed) == 0 {
		n.notice("Nothing to remove.")
		return nil
	}
	return t.print(n.out, true)
}

// confirmed asks before live sessions are ended. Without a terminal nobody can
// answer, so --yes is needed.
func confirmed(n *node, yes bool, doomed []agent.Removed) (bool, error) {
	if yes || len(doomed) == 0 {
		return true, nil
	}
	if err := printRemoved(n, doomed); err != nil {
		return false, err
	}
	if !isTerminal(n.in) {
		return false, usageErrorf("--all ends the sessions above; without a terminal to ask on, add --yes")
	}
	n.console.line(fmt.Sprintf("Remove these %d sessions? [y/N]", len(doomed)))
	answer, err := bufio.NewReader(n.in).ReadString('\n')
	if err != nil && err != io.EOF {
		return false, fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true, nil
	}
	n.notice("Nothing was removed.")
	return false, nil
}
