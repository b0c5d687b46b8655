package main

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/porthole-project/porthole/internal/agent"
	"github.com/porthole-project/porthole/runtime"
)

func debugCommand(io stdio) *cli.Command {
	return &cli.Command{
		Name:      "debug",
		Usage:     "open a debug container in a running pod",
		UsageText: "porthole debug POD --image IMAGE [-i] [-t] [options] [-- COMMAND [ARG…]]",
		Description: "POD is NAME, pod/NAME, NAMESPACE/NAME, or the beginning of a sandbox's or container's ID.\n" +
			"The debug container shares the network, IPC and UTS namespaces of the pod and the processes\n" +
			"of the target container; all of it is removed when the command ends.\n\n" + exitHelp(),
		Flags:           debugOptions(),
		HideHelpCommand: true,
		BashComplete:    completePods,
		Action: verb(io, func(ctx context.Context, c *cli.Context, n *node) error {
			o, err := debugOrder(c, n)
			if err != nil {
				return err
			}
			if o.DryRun {
				return dryRun(ctx, n, o, c.String("output"))
			}
			return open(ctx, n, o)
		}),
	}
}

func debugOptions() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "namespace of the pod (default: any)"},
		&cli.StringFlag{Name: "image", Usage: "image of the debug container"},
		&cli.StringFlag{Name: "target", Usage: "container whose processes to share; --target= gives the debug container PIDs of its own (default: the pod's default container, or the only one running)"},
		&cli.StringFlag{Name: "container", Aliases: []string{"c"}, Usage: "name of the debug container (default: porthole-RANDOM)"},
		&cli.BoolFlag{Name: "stdin", Aliases: []string{"i"}, Usage: "pass standard input to the container"},
		&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "give the container a terminal (needs -i)"},
		&cli.StringSliceFlag{Name: "env", Usage: "environment variable as NAME=VALUE, may be repeated", KeepSpace: true},
		&cli.StringFlag{Name: "image-pull-policy", Usage: "Always, IfNotPresent or Never"},
		&cli.StringFlag{Name: "profile", Usage: strings.Join(runtime.Profiles(), ", "), DefaultText: runtime.DefaultProfile},
		&cli.BoolFlag{Name: "arguments-only", Usage: "COMMAND replaces the image's arguments, not its entrypoint"},
		&cli.DurationFlag{Name: "ttl", Usage: "end the session after this time", DefaultText: "1h"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no messages but warnings and errors"},
		&cli.BoolFlag{Name: "allow-namespace-mismatch", Usage: "go on, with a warning, when the namespaces are not the target's"},
		&cli.BoolFlag{Name: "dry-run", Usage: "print the CreateContainer request and create nothing"},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "with --dry-run: json or yaml", Value: "json"},
	}
}

// debugOrder turns the command line into an order. It changes nothing.
func debugOrder(c *cli.Context, n *node) (agent.Order, error) {
	n.quiet = c.Bool("quiet")
	positionals, command, dashed := splitCommand(c.Args().Slice())
	switch {
	case len(positionals) == 0:
		return agent.Order{}, usageErrorf("no pod is named; 'porthole pods' lists them")
	case len(positionals) > 1:
		return agent.Order{}, usageErrorf("one pod at a time, not %q; a command goes behind --", positionals)
	case dashed && len(command) == 0:
		return agent.Order{}, usageErrorf("no command behind --")
	case c.Bool("arguments-only") && len(command) == 0:
		return agent.Order{}, usageErrorf("--arguments-only needs arguments behind --")
	case c.Bool("tty") && !c.Bool("stdin"):
		return agent.Order{}, usageErrorf("-t needs -i")
	case c.String("output") != "json" && c.String("output") != "yaml":
		return agent.Order{}, usageErrorf("--output %q: want json or yaml", c.String("output"))
	}
	namespace := n.config.Namespace
	if c.IsSet("namespace") {
		namespace = c.String("namespace")
	}
	if ns, _, ok := strings.Cut(positionals[0], "/"); ok && !c.IsSet("namespace") && ns != "pod" && ns != "pods" && ns != "po" {
		namespace = "" // NAMESPACE/NAME speaks for itself
	}
	ref, err := runtime.ParseRef(positionals[0], namespace)
	if err != nil {
		return agent.Order{}, err
	}
	o := agent.Order{
		Ref:           ref,
		Target:        c.String("target"),
		NoTarget:      c.IsSet("target") && c.String("target") == "",
		DryRun:        c.Bool("dry-run"),
		AllowMismatch: c.Bool("allow-namespace-mismatch"),
	}
	if o.TTL, err = ttl(c, n); err != nil {
		return o, err
	}
	o.Spec, err = debugSpec(c, n, command)
	return o, err
}

func ttl(c *cli.Context, n *node) (time.Duration, error) {
	want := n.config.Debug.TTL
	if !c.IsSet("ttl") {
		return want, nil
	}
	want = c.Duration("ttl")
	if limit := n.config.Debug.MaxTTL; want <= 0 || want > limit {
		return 0, usageErrorf("--ttl %s: want more than nothing and at most %s (debug.maxTTL)", want, limit)
	}
	return want, nil
}

// debugSpec builds the ephemeral container that the flags describe.
func debugSpec(c *cli.Context, n *node, command []string) (corev1.EphemeralContainer, error) {
	var spec corev1.EphemeralContainer
	spec.Name = c.String("container")
	spec.Image = c.String("image")
	if spec.Image == "" {
		spec.Image = n.config.Debug.Image
	}
	if spec.Image == "" {
		return spec, usageErrorf("no image: give --image, or set debug.image in the configuration")
	}
	spec.ImagePullPolicy = corev1.PullPolicy(c.String("image-pull-policy"))
	if p := spec.ImagePullPolicy; p != "" && p != corev1.PullAlways && p != corev1.PullIfNotPresent && p != corev1.PullNever {
		return spec, usageErrorf("--image-pull-policy %q: want Always, IfNotPresent or Never", p)
	}
	for _, e := range c.StringSlice("env") {
		name, value, ok := strings.Cut(e, "=")
		if !ok || name == "" {
			return spec, usageErrorf("--env %q: want NAME=VALUE", e)
		}
		spec.Env = append(spec.Env, corev1.EnvVar{Name: name, Value: value})
	}
	if c.Bool("arguments-only") {
		spec.Args = command
	} else {
		spec.Command = command
	}
	spec.Stdin, spec.TTY = c.Bool("stdin"), c.Bool("tty")
	if spec.TTY && !isTerminal(n.in) {
		n.console.line("Unable to use a TTY - input is not a terminal or the right kind of file")
		spec.TTY = false
	}
	// A pipe's end must reach the command; kubectl leaves it waiting.
	spec.StdinOnce = spec.Stdin && !spec.TTY
	profile := n.config.Debug.Profile
	if c.IsSet("profile") {
		profile = c.String("profile")
	}
	return spec, runtime.ApplyProfile(&spec, profile)
}

func dryRun(ctx context.Context, n *node, o agent.Order, format string) error {
	p, err := n.engine.Prepare(ctx, o)
	if err != nil {
		return err
	}
	text, err := n.client.Render(p.Plan)
	if err == nil && format == "yaml" {
		text, err = toYAML(text)
	}
	if err != nil {
		return err
	}
	return writeDocument(n.out, text, format)
}

// open runs the session and returns the command's exit code as a commandStatus.
func open(ctx context.Context, n *node, o agent.Order) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer startAside(n)()
	p, err := n.engine.Prepare(ctx, o)
	if err != nil {
		return err
	}
	streams := runtime.Streams{
		Stdout: &cancelOnError{n.out, cancel},
		Stderr: &cancelOnError{os.Stderr, cancel},
		Notice: n.notice,
	}
	if o.Spec.Stdin {
		streams.Stdin = n.in
	}
	if o.Spec.TTY {
		defer useTerminal(ctx, n, &streams)()
	}
	out, err := n.engine.Run(ctx, p, streams)
	n.verbose("session %s, container %.13s, namespaces %s", out.Session, out.ID, out.Verdict)
	switch {
	case err != nil:
		return because(ctx, err) // here the reason may be broken output, too
	case out.Ended != nil:
		return out.Ended
	case out.Exit.Reason == "OOMKilled":
		n.notice("The debug container was killed: out of memory.")
	}
	if out.Exit.Code == 0 {
		return nil
	}
	return commandStatus(out.Exit.Code)
}

// cancelOnError ends the session when nobody reads its output any more.
type cancelOnError struct {
	w      io.Writer
	cancel context.CancelCauseFunc
}

func (c *cancelOnError) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil {
		c.cancel(brokenOutput(err))
	}
	return n, err
}
