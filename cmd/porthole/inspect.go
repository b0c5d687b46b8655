package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/porthole-project/porthole/internal/agent"
	"github.com/porthole-project/porthole/runtime"
)

func inspectCommand(io stdio) *cli.Command {
	return &cli.Command{
		Name:            "inspect",
		Usage:           "show all that is known of a debug container, also after it is gone",
		UsageText:       "porthole inspect SESSION [-o yaml|json]",
		Description:     "SESSION is a session, the name of its container, or the beginning of the container's ID.\nWhat was added to a pod is remembered for as long as the pod is on this node.",
		HideHelpCommand: true,
		Flags:           []cli.Flag{&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "yaml or json", Value: "yaml"}},
		Action: verb(io, func(ctx context.Context, c *cli.Context, n *node) error {
			format := c.String("output")
			switch {
			case c.Args().Len() != 1:
				return usageErrorf("inspect takes one session; 'porthole ps -a' lists them")
			case format != "yaml" && format != "json":
				return usageErrorf("--output %q: want yaml or json", format)
			}
			found, err := n.engine.Inspect(ctx, c.Args().First())
			if err != nil {
				return err
			}
			text, err := json.MarshalIndent(inspection(found), "", "  ")
			if err == nil && format == "yaml" {
				text, err = toYAML(text)
			}
			if err != nil {
				return err
			}
			return writeDocument(n.out, text, format)
		}),
	}
}

// inspectView is the document of porthole inspect. Its fields stay compatible.
type inspectView struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	sessionView
	ImageID string            `json:"imageID,omitempty"`
	Ended   *time.Time        `json:"ended,omitempty"`
	Cause   string            `json:"cause,omitempty"`
	Options map[string]string `json:"options,omitempty"`
	// Spec is the v1.EphemeralContainer that was added.
	Spec json.RawMessage `json:"spec,omitempty"`
}

func inspection(found agent.Inspected) inspectView {
	v := inspectView{APIVersion: apiVersion, Kind: "Session"}
	if r := found.Record; r != nil {
		v.sessionView = viewRecord(*r)
		v.ImageID, v.Cause, v.Options, v.Spec = r.ImageID, r.Cause, r.Options, r.Spec
		if !r.Ended.IsZero() {
			v.Ended = &r.Ended
		}
	}
	if found.Live != nil {
		v.sessionView = viewSession(*found.Live)
	}
	return v
}

// gone is the state of a session whose container is no more.
const gone runtime.State = "gone"
