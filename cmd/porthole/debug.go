package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/porthole-project/porthole/internal/agent"
	"github.com/porthole-project/porthole/runtime"
	"github.com/porthole-project/porthole/runtime/ephemeral"
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
			if err := pullSources(ctx, c, n); err != nil {
				return err
			}
			return open(ctx, n, o)
		}),
	}
}

func debugOptions() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "namespace of the pod (default: any)"},
		&cli.StringFlag{Name: "filename", Aliases: []string{"f"}, Usage: "file with the ephemeral container (v1.EphemeralContainer in YAML or JSON), or with the pod to open; - is standard input"},
		&cli.StringFlag{Name: "image", Usage: "image of the debug container"},
		&cli.StringFlag{Name: "target", Usage: "container whose processes to share; --target= gives the debug container PIDs of its own (default: the pod's default container, or the only one running)"},
		&cli.StringFlag{Name: "container", Aliases: []string{"c"}, Usage: "name of the debug container (default: porthole-RANDOM)"},
		&cli.BoolFlag{Name: "stdin", Aliases: []string{"i"}, Usage: "pass standard input to the container"},
		&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "give the container a terminal (needs -i)"},
		&cli.BoolFlag{Name: "attach", Value: true, Usage: "stay until the command ends; --attach=false leaves it running until its time is up"},
		&cli.StringSliceFlag{Name: "env", Usage: "environment variable as NAME=VALUE, may be repeated", KeepSpace: true},
		&cli.StringFlag{Name: "image-pull-policy", Usage: "Always, IfNotPresent or Never"},
		&cli.StringFlag{Name: "profile", Usage: strings.Join(ephemeral.Profiles(), ", "), DefaultText: ephemeral.DefaultProfile},
		&cli.StringFlag{Name: "custom", Usage: "file with a partial container spec, merged over the profile's; - is standard input"},
		&cli.BoolFlag{Name: "arguments-only", Usage: "COMMAND replaces the image's arguments, not its entrypoint"},
		&cli.DurationFlag{Name: "ttl", Usage: "end the session after this time", DefaultText: "1h"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no messages but warnings and errors"},
		&cli.BoolFlag{Name: "allow-namespace-mismatch", Usage: "go on, with a warning, when the namespaces are not the target's"},
		&cli.BoolFlag{Name: "dry-run", Usage: "print what would be created and create nothing"},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "with --dry-run: the CreateContainer request as json or yaml, or the ephemeral container as spec", Value: "json"},
	}, extraOptions()...)
}

// extraOptions are the flags that go beyond kubectl's.
func extraOptions() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "user", Usage: "run as this user: UID, UID:GID, or a name that the image knows"},
		&cli.StringFlag{Name: "workdir", Usage: "working directory of the command"},
		&cli.StringFlag{Name: "entrypoint", Usage: "replace the image's entrypoint; what is behind -- are its arguments"},
		&cli.BoolFlag{Name: "as-target", Usage: "run with the target's own security context instead of a profile"},
		optionalFlag{&cli.GenericFlag{Name: "share-volumes", Value: new(sharing), Usage: "show the target's mounts at the same paths; --share-volumes=ro read-only"}},
		&cli.BoolFlag{Name: "copy-env", Usage: "copy the target's environment, but for what a shell or loader would act on"},
		&cli.StringFlag{Name: "memory", Usage: "memory limit, such as 64Mi"},
		&cli.StringFlag{Name: "cpus", Usage: "limit of CPU time, such as 0.5"},
		&cli.Int64Flag{Name: "pids-limit", Usage: "limit of processes"},
		&cli.StringFlag{Name: "storage-limit", Usage: "end the session when its files and log exceed this, such as 100Mi"},
		&cli.Int64Flag{Name: "oom-score-adj", Usage: "a higher score than kubelet's, so that the debugger is killed before the application"},
		&cli.StringFlag{Name: "pull-secret-file", Usage: "file with the credentials to pull the image (dockerconfigjson)"},
		&cli.BoolFlag{Name: "creds-stdin", Usage: "read USER:PASSWORD to pull the image from the first line of standard input"},
		&cli.BoolFlag{Name: "rm-image", Usage: "remove the image afterwards if it was pulled for this session"},
	}
}

// debugOrder turns the command line into an order. It changes nothing.
func debugOrder(c *cli.Context, n *node) (agent.Order, error) {
	n.quiet = c.Bool("quiet")
	positionals, command, dashed := splitCommand(c.Args().Slice())
	if err := checkDebug(c, positionals, command, dashed); err != nil {
		return agent.Order{}, err
	}
	base, pod, err := readSpec(c, n)
	if err != nil {
		return agent.Order{}, err
	}
	ref, err := debugRef(c, n, positionals, pod)
	if err != nil {
		return agent.Order{}, err
	}
	o := agent.Order{
		Ref:           ref,
		Target:        c.String("target"),
		NoTarget:      c.IsSet("target") && c.String("target") == "",
		DryRun:        c.Bool("dry-run"),
		SpecOnly:      c.String("output") == "spec",
		Unattended:    !c.Bool("attach"),
		AllowMismatch: c.Bool("allow-namespace-mismatch"),
		Profiled:      base == nil || c.IsSet("profile"),
	}
	if base != nil && !c.IsSet("target") {
		// The spec means what it means to kubelet: without a target there is none.
		o.Target, o.NoTarget = base.TargetContainerName, base.TargetContainerName == ""
		if o.NoTarget {
			n.notice("The spec names no target: the debug container has PIDs of its own (--target names one).")
		}
	}
	if o.TTL, err = ttl(c, n); err != nil {
		return o, err
	}
	if err := addExtras(c, &o); err != nil {
		return o, err
	}
	o.Spec, err = debugSpec(c, n, base, command)
	return o, err
}

// checkDebug refuses combinations of flags that mean nothing.
func checkDebug(c *cli.Context, positionals, command []string, dashed bool) error {
	fromStdin := 0
	for _, flag := range []string{"filename", "custom"} {
		if c.String(flag) == "-" {
			fromStdin++
		}
	}
	if c.Bool("creds-stdin") {
		fromStdin++
	}
	switch output := c.String("output"); {
	case len(positionals) == 0 && c.String("filename") == "":
		return usageErrorf("no pod is named; 'porthole pods' lists them")
	case len(positionals) > 1:
		return usageErrorf("one pod at a time, not %q; a command goes behind --", positionals)
	case dashed && len(command) == 0:
		return usageErrorf("no command behind --")
	case c.Bool("arguments-only") && len(command) == 0:
		return usageErrorf("--arguments-only needs arguments behind --")
	case c.Bool("tty") && !c.Bool("stdin"):
		return usageErrorf("-t needs -i")
	case fromStdin > 1:
		return usageErrorf("standard input can be read for one of -f, --custom and --creds-stdin")
	case fromStdin == 1 && c.Bool("stdin") && !c.Bool("creds-stdin"):
		return usageErrorf("-i passes standard input to the container; give -f and --custom a file")
	case output != "json" && output != "yaml" && output != "spec":
		return usageErrorf("--output %q: want json, yaml or spec", output)
	case !c.Bool("attach") && c.IsSet("storage-limit"):
		return usageErrorf("--storage-limit is watched by the session, which --attach=false does not wait for")
	case c.Bool("dry-run") && c.Bool("creds-stdin"):
		return usageErrorf("--dry-run pulls nothing; leave out --creds-stdin")
	case c.IsSet("output") && !c.Bool("dry-run"):
		return usageErrorf("--output is the format of --dry-run")
	}
	return nil
}

// debugRef is the pod that is named on the command line, or by the file.
func debugRef(c *cli.Context, n *node, positionals []string, pod *ephemeral.NotContainer) (runtime.Ref, error) {
	namespace := n.config.Namespace
	if c.IsSet("namespace") {
		namespace = c.String("namespace")
	}
	switch {
	case pod != nil && len(positionals) > 0:
		return runtime.Ref{}, usageErrorf("-f names pod %s and the command line %q; give one of them", pod.Name, positionals[0])
	case pod != nil && pod.Name == "":
		return runtime.Ref{}, usageErrorf("-f: the pod in the file has no metadata.name")
	case pod != nil:
		if pod.Namespace != "" && !c.IsSet("namespace") {
			namespace = "" // the file speaks for itself
		}
		if pod.Namespace != "" {
			return runtime.ParseRef(pod.Namespace+"/"+pod.Name, namespace)
		}
		return runtime.ParseRef("pod/"+pod.Name, namespace)
	case len(positionals) == 0:
		return runtime.Ref{}, usageErrorf("no pod is named; 'porthole pods' lists them")
	}
	if ns, _, ok := strings.Cut(positionals[0], "/"); ok && !c.IsSet("namespace") && ns != "pod" && ns != "pods" && ns != "po" {
		namespace = "" // NAMESPACE/NAME speaks for itself
	}
	return runtime.ParseRef(positionals[0], namespace)
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

func dryRun(ctx context.Context, n *node, o agent.Order, format string) error {
	p, err := n.engine.Prepare(ctx, o)
	if err != nil {
		return err
	}
	if format == "spec" {
		options := o.Options()
		delete(options, "as-target") // for that there are words
		if beyond := slices.Sorted(maps.Keys(options)); len(beyond) > 0 {
			n.notice("Not in the spec, since the API has no words for it: " + strings.Join(beyond, ", ") + ".")
		}
		text, err := ephemeral.Encode(&p.Spec)
		if err != nil {
			return err
		}
		return writeDocument(n.out, text, "yaml")
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
	if o.Unattended {
		return leave(ctx, n, p)
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

// leave starts a session that runs by itself, and tells how to find it again.
func leave(ctx context.Context, n *node, p *agent.Prepared) error {
	out, err := n.engine.Run(ctx, p, runtime.Streams{})
	if err != nil {
		return because(ctx, err)
	}
	n.verbose("container %.13s, namespaces %s", out.ID, out.Verdict)
	n.notice(fmt.Sprintf("Container %q runs until %s; 'porthole ps' shows it, and the first 'porthole gc' after that removes it.", p.Plan.Name, p.Expires.Format(time.RFC3339)))
	_, err = fmt.Fprintln(n.out, out.Session)
	return err
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
