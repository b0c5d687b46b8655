package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/porthole-project/porthole/internal/agent"
	"github.com/porthole-project/porthole/internal/journal"
	"github.com/porthole-project/porthole/runtime"
)

func psCommand(io stdio) *cli.Command {
	return &cli.Command{
		Name:            "ps",
		Usage:           "list Porthole's debug containers on this node, running and ended",
		UsageText:       "porthole ps [-a] [-o table|wide|json|yaml|name]",
		HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "also what was added to the pods of this node and is gone"},
			outputFlag(),
		},
		Action: verb(io, func(ctx context.Context, c *cli.Context, n *node) error {
			if c.Args().Present() {
				return usageErrorf("ps takes no argument, not %q", c.Args().First())
			}
			sessions, err := n.engine.Sessions(ctx)
			if err != nil {
				return err
			}
			var history []journal.Record
			if c.Bool("all") {
				if history, err = n.engine.History(ctx); err != nil {
					return err
				}
			}
			t := table{header: []string{"SESSION", "POD", "TARGET", "STATE", "AGE", "EXPIRES", "OWNER", "CONTAINER", "IMAGE", "ID", "NAMESPACES"}, wide: 7}
			views := []sessionView{}
			live := map[string]bool{}
			for _, s := range sessions {
				live[s.Mark.Session] = true
				views = append(views, viewSession(s))
			}
			for _, r := range history {
				if !live[r.Session] {
					views = append(views, viewRecord(r))
				}
			}
			for _, v := range views {
				t.names = append(t.names, v.Session)
				t.rows = append(t.rows, v.row(time.Now()))
			}
			if len(views) == 0 {
				n.notice("No debug containers on this node.")
			}
			return printList(n.out, c.String("output"), t, list{apiVersion, "SessionList", views})
		}),
	}
}

// sessionView is a debug container as printed.
type sessionView struct {
	Session      string        `json:"session"`
	Namespace    string        `json:"namespace"`
	Pod          string        `json:"pod"`
	PodUID       string        `json:"podUID"`
	Container    string        `json:"container"`
	ID           string        `json:"id"`
	Target       string        `json:"target,omitempty"`
	Image        string        `json:"image"`
	Owner        string        `json:"owner,omitempty"`
	State        runtime.State `json:"state"`
	ExitCode     *int          `json:"exitCode,omitempty"`
	Reason       string        `json:"reason,omitempty"`
	Created      time.Time     `json:"created"`
	Expires      *time.Time    `json:"expires,omitempty"`
	Verification string        `json:"verification,omitempty"`
}

func viewSession(s agent.Session) sessionView {
	v := sessionView{
		Session: s.Mark.Session, Namespace: s.Pod.Namespace, Pod: s.Pod.Name, PodUID: s.Pod.UID,
		Container: s.Name, ID: s.ID, Target: s.Mark.Target, Image: s.Image, Owner: s.Mark.Owner,
		State: s.State, Created: s.Created, Verification: s.Verification,
	}
	if !s.Mark.Expires.IsZero() {
		v.Expires = &s.Mark.Expires
	}
	if s.Exit != nil {
		v.ExitCode, v.Reason = &s.Exit.Code, s.Exit.Reason
	}
	return v
}

// viewRecord shows what is remembered of a session whose container is gone.
func viewRecord(r journal.Record) sessionView {
	v := sessionView{
		Session: r.Session, Namespace: r.Namespace, Pod: r.Pod, PodUID: r.PodUID, Container: r.Container, ID: r.ContainerID, Target: r.Target,
		Image: r.Image, Owner: r.Owner, State: gone, ExitCode: r.ExitCode, Reason: r.Reason, Created: r.Created, Verification: r.Verification,
	}
	if !r.Expires.IsZero() {
		v.Expires = &r.Expires
	}
	return v
}

func (v sessionView) row(now time.Time) []string {
	state := string(v.State)
	if v.ExitCode != nil {
		word := "exited"
		if v.State == gone {
			word = string(gone)
		}
		state = fmt.Sprintf("%s(%d)", word, *v.ExitCode)
	}
	expires := ""
	if v.Expires != nil && v.State != gone {
		expires = "in " + age(now, *v.Expires)
		if v.Expires.Before(now) {
			expires = "expired"
		}
	}
	return []string{v.Session, v.Namespace + "/" + v.Pod, v.Target, state, age(v.Created, now), expires, v.Owner, v.Container, v.Image, v.ID[:min(13, len(v.ID))], v.Verification}
}
