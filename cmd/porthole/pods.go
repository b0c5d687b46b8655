package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/porthole-project/porthole/runtime"
)

func podsCommand(io stdio) *cli.Command {
	return &cli.Command{
		Name:            "pods",
		Usage:           "list the pods that can be opened",
		UsageText:       "porthole pods [-n NAMESPACE | -A] [-l SELECTOR] [-o table|wide|json|yaml|name]",
		HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "only this namespace (default: all, or the configured one)"},
			&cli.BoolFlag{Name: "all-namespaces", Aliases: []string{"A"}, Usage: "all namespaces"},
			&cli.StringFlag{Name: "selector", Aliases: []string{"l"}, Usage: "only pods whose labels match, as in kubectl"},
			outputFlag(),
		},
		Action: verb(io, func(ctx context.Context, c *cli.Context, n *node) error {
			if c.Args().Present() {
				return usageErrorf("pods takes no argument, not %q; -n and -l narrow the list", c.Args().First())
			}
			views, err := listPods(ctx, c, n)
			if err != nil {
				return err
			}
			t := table{header: []string{"NAMESPACE", "POD", "CONTAINERS", "STATE", "AGE", "RUNTIME", "SANDBOX", "UID"}, wide: 6}
			for _, v := range views {
				t.names = append(t.names, "pod/"+v.Name)
				t.rows = append(t.rows, v.row(time.Now()))
			}
			if len(views) == 0 {
				n.notice("No pods on this node match.")
			}
			return printList(n.out, c.String("output"), t, list{apiVersion, "PodList", views})
		}),
	}
}

// podView is a pod as printed.
type podView struct {
	Namespace  string            `json:"namespace"`
	Name       string            `json:"name"`
	UID        string            `json:"uid"`
	Sandbox    string            `json:"sandbox"`
	State      runtime.State     `json:"state"`
	Created    time.Time         `json:"created"`
	Runtime    string            `json:"runtime"`
	Handler    string            `json:"handler,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Containers []containerView   `json:"containers"`
}

type containerView struct {
	Name    string        `json:"name"`
	ID      string        `json:"id"`
	Image   string        `json:"image"`
	State   runtime.State `json:"state"`
	Debug   bool          `json:"debug,omitempty"` // one of Porthole's
	Created time.Time     `json:"created"`
}

func (v podView) row(now time.Time) []string {
	var names []string
	for _, c := range v.Containers {
		switch {
		case c.Debug:
		case c.State == runtime.Running:
			names = append(names, c.Name)
		default:
			names = append(names, c.Name+"("+string(c.State)+")")
		}
	}
	name := v.Runtime
	if v.Handler != "" {
		name += "/" + v.Handler
	}
	return []string{v.Namespace, v.Name, strings.Join(names, ","), string(v.State), age(v.Created, now), name, v.Sandbox[:min(13, len(v.Sandbox))], v.UID}
}

func listPods(ctx context.Context, c *cli.Context, n *node) ([]podView, error) {
	selector, err := labels.Parse(c.String("selector"))
	if err != nil {
		return nil, usageErrorf("--selector %q: %w", c.String("selector"), err)
	}
	namespace := n.config.Namespace
	switch {
	case c.Bool("all-namespaces") && c.IsSet("namespace"):
		return nil, usageErrorf("-A and -n exclude each other")
	case c.Bool("all-namespaces"):
		namespace = ""
	case c.IsSet("namespace"):
		namespace = c.String("namespace")
	}
	pods, err := n.client.Pods(ctx, nil)
	if err != nil {
		return nil, err
	}
	containers, err := n.client.Containers(ctx, nil)
	if err != nil {
		return nil, err
	}
	views := []podView{}
	for _, p := range pods {
		if namespace != "" && p.Namespace != namespace || !selector.Matches(labels.Set(p.Labels)) {
			continue
		}
		views = append(views, viewPod(p, containers, n.client.Name))
	}
	slices.SortFunc(views, func(a, b podView) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), b.Created.Compare(a.Created))
	})
	return views, nil
}

func viewPod(p runtime.Pod, containers []runtime.Container, runtimeName string) podView {
	v := podView{
		Namespace: p.Namespace, Name: p.Name, UID: p.UID, Sandbox: p.ID, State: p.State,
		Created: p.Created, Runtime: runtimeName, Handler: p.Handler, Labels: p.Labels, Containers: []containerView{},
	}
	var own []runtime.Container
	for _, c := range containers {
		if c.PodID == p.ID {
			own = append(own, c)
		}
	}
	for _, c := range runtime.Newest(own) {
		v.Containers = append(v.Containers, containerView{Name: c.Name, ID: c.ID, Image: c.Image, State: c.State, Debug: runtime.IsOurs(c.Labels), Created: c.Created})
	}
	return v
}
