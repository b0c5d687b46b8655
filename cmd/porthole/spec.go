package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/porthole-project/porthole/internal/agent"
	"github.com/porthole-project/porthole/runtime"
	"github.com/porthole-project/porthole/runtime/ephemeral"
)

// specLimit is far more than any container's specification.
const specLimit = 1 << 20

// readDocument reads a file that a flag names, or standard input for "-".
func readDocument(n *node, flag, path string) ([]byte, error) {
	in, name := io.Reader(nil), path
	if path == "-" {
		in, name = n.in, "standard input"
	} else {
		f, err := os.Open(path)
		if err != nil {
			return nil, usageErrorf("%s: %w", flag, err)
		}
		defer f.Close()
		in = f
	}
	doc, err := io.ReadAll(io.LimitReader(in, specLimit+1))
	if err != nil {
		return nil, usageErrorf("%s %s: %w", flag, name, err)
	}
	if len(doc) > specLimit {
		return nil, usageErrorf("%s %s: more than %d bytes", flag, name, specLimit)
	}
	return doc, nil
}

// readSpec reads what -f names: an ephemeral container or, as for kubectl, the
// pod to open. Both are nil without -f.
func readSpec(c *cli.Context, n *node) (*corev1.EphemeralContainer, *ephemeral.NotContainer, error) {
	path := c.String("filename")
	if path == "" {
		return nil, nil, nil
	}
	doc, err := readDocument(n, "-f", path)
	if err != nil {
		return nil, nil, err
	}
	spec, err := ephemeral.Decode(doc)
	var pod *ephemeral.NotContainer
	if errors.As(err, &pod) {
		return nil, pod, nil
	}
	if err != nil {
		if path == "-" {
			path = "standard input"
		}
		return nil, nil, fmt.Errorf("-f %s: %w", path, err)
	}
	return spec, nil, nil
}

// debugSpec builds the ephemeral container that the file, the flags and the
// custom profile describe together: what a flag says replaces what the file does.
func debugSpec(c *cli.Context, n *node, base *corev1.EphemeralContainer, command []string) (corev1.EphemeralContainer, error) {
	var spec corev1.EphemeralContainer
	if base != nil {
		spec = *base.DeepCopy()
	}
	if c.IsSet("container") {
		spec.Name = c.String("container")
	}
	if image := c.String("image"); image != "" {
		spec.Image = image
	}
	if spec.Image == "" {
		spec.Image = n.config.Debug.Image
	}
	if spec.Image == "" && base == nil {
		return spec, usageErrorf("no image: give --image, or set debug.image in the configuration")
	}
	if c.IsSet("image-pull-policy") {
		spec.ImagePullPolicy = corev1.PullPolicy(c.String("image-pull-policy"))
		if p := spec.ImagePullPolicy; p != "" && p != corev1.PullAlways && p != corev1.PullIfNotPresent && p != corev1.PullNever {
			return spec, usageErrorf("--image-pull-policy %q: want Always, IfNotPresent or Never", p)
		}
	}
	for _, e := range c.StringSlice("env") {
		name, value, ok := strings.Cut(e, "=")
		if !ok || name == "" {
			return spec, usageErrorf("--env %q: want NAME=VALUE", e)
		}
		spec.Env = append(spec.Env, corev1.EnvVar{Name: name, Value: value})
	}
	if err := setCommand(c, &spec, command); err != nil {
		return spec, err
	}
	setStreams(c, n, &spec)
	return spec, setSecurity(c, n, &spec, base != nil)
}

// setCommand applies what stands behind "--", --entrypoint and --workdir.
func setCommand(c *cli.Context, spec *corev1.EphemeralContainer, command []string) error {
	switch entrypoint := c.String("entrypoint"); {
	case entrypoint != "" && c.Bool("arguments-only"):
		return usageErrorf("--entrypoint and --arguments-only say two things; with --entrypoint what is behind -- are its arguments")
	case entrypoint != "":
		spec.Command, spec.Args = []string{entrypoint}, command
	case c.IsSet("entrypoint"):
		return usageErrorf("--entrypoint is empty; leave it out for the image's own")
	case len(command) == 0:
	case c.Bool("arguments-only"):
		spec.Args = command
	default:
		spec.Command, spec.Args = command, nil
	}
	if c.IsSet("workdir") {
		spec.WorkingDir = c.String("workdir")
	}
	return nil
}

// setStreams applies -i and -t.
func setStreams(c *cli.Context, n *node, spec *corev1.EphemeralContainer) {
	if c.IsSet("stdin") {
		spec.Stdin = c.Bool("stdin")
	}
	if c.IsSet("tty") {
		spec.TTY = c.Bool("tty")
	}
	if spec.TTY && c.Bool("attach") && !c.Bool("dry-run") && !isTerminal(n.in) {
		n.console.line("Unable to use a TTY - input is not a terminal or the right kind of file")
		spec.TTY = false
	}
	// A pipe's end must reach the command; kubectl leaves it waiting.
	// What is printed for the API stays as kubectl has it.
	if spec.Stdin && !spec.TTY && c.String("output") != "spec" {
		spec.StdinOnce = true
	}
}

// setSecurity applies the profile, then the custom one, then --user. A spec from
// a file says itself what it wants, so that only a profile that was asked for
// changes it.
func setSecurity(c *cli.Context, n *node, spec *corev1.EphemeralContainer, fromFile bool) error {
	asTarget := c.Bool("as-target")
	if asTarget && (c.IsSet("profile") || c.IsSet("user")) {
		return usageErrorf("--as-target takes the target's own security context; leave out --profile and --user")
	}
	if c.IsSet("profile") || !fromFile && !asTarget {
		profile := n.config.Debug.Profile
		if c.IsSet("profile") {
			profile = c.String("profile")
		}
		if err := ephemeral.ApplyProfile(spec, profile); err != nil {
			return err
		}
		if line := ephemeral.ProfileWarning(profile); line != "" {
			n.console.line(line)
		}
	}
	if path := c.String("custom"); path != "" {
		doc, err := readDocument(n, "--custom", path)
		if err != nil {
			return err
		}
		if err := ephemeral.ApplyCustom(spec, doc); err != nil {
			return fmt.Errorf("--custom %s: %w", path, err)
		}
	}
	if asTarget && spec.SecurityContext != nil {
		return usageErrorf("--as-target takes the target's own security context, and the file or the custom profile says another")
	}
	return setUser(c.String("user"), spec)
}

// setUser applies --user where it is a number, with or without a group: the API
// knows no others. A name is an option of the order.
func setUser(text string, spec *corev1.EphemeralContainer) error {
	user, group, grouped := strings.Cut(text, ":")
	id, err := strconv.ParseInt(user, 10, 64)
	if text == "" || err != nil && !grouped && user != "" {
		return nil
	}
	if err != nil {
		return usageErrorf("--user %q: want UID, UID:GID or the name of a user of the image", text)
	}
	if spec.SecurityContext == nil {
		spec.SecurityContext = &corev1.SecurityContext{}
	}
	spec.SecurityContext.RunAsUser = &id
	if grouped {
		gid, err := strconv.ParseInt(group, 10, 64)
		if err != nil {
			return usageErrorf("--user %q: want UID, UID:GID or the name of a user of the image", text)
		}
		spec.SecurityContext.RunAsGroup = &gid
	}
	return nil
}

// userName is --user where it is a name.
func userName(text string) string {
	if _, err := strconv.ParseInt(text, 10, 64); err == nil || strings.Contains(text, ":") {
		return ""
	}
	return text
}

// addExtras reads the flags that the API has no words for.
func addExtras(c *cli.Context, o *agent.Order) (err error) {
	o.AsTarget, o.CopyEnv, o.RemoveImage = c.Bool("as-target"), c.Bool("copy-env"), c.Bool("rm-image")
	o.Share = runtime.Sharing(*c.Generic("share-volumes").(*sharing))
	o.Username = userName(c.String("user"))
	if o.Caps.Memory, err = bytesFlag(c, "memory", 4<<20); err != nil {
		return err
	}
	if o.Caps.Storage, err = bytesFlag(c, "storage-limit", 1<<20); err != nil {
		return err
	}
	if text := c.String("cpus"); text != "" {
		q, err := resource.ParseQuantity(text)
		if err != nil || q.MilliValue() < 10 {
			return usageErrorf("--cpus %q: want a number of CPUs such as 0.5 or 500m, at least 0.01", text)
		}
		o.Caps.MilliCPU = q.MilliValue()
	}
	if c.IsSet("pids-limit") {
		if o.Caps.Pids = c.Int64("pids-limit"); o.Caps.Pids < 1 {
			return usageErrorf("--pids-limit %d: want at least 1", o.Caps.Pids)
		}
	}
	if c.IsSet("oom-score-adj") {
		score := c.Int64("oom-score-adj")
		if score < -1000 || score > 1000 {
			return usageErrorf("--oom-score-adj %d: want -1000 to 1000", score)
		}
		o.Caps.OOMScoreAdj = &score
	}
	return nil
}

func bytesFlag(c *cli.Context, name string, least int64) (int64, error) {
	text := c.String(name)
	if text == "" {
		return 0, nil
	}
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Value() < least {
		return 0, usageErrorf("--%s %q: want a number of bytes such as 64Mi, at least %dMi", name, text, least>>20)
	}
	return q.Value(), nil
}

// sharing is the value of --share-volumes, which may be left out.
type sharing runtime.Sharing

// Set reads the value; the flag package says "true" where there is none.
func (s *sharing) Set(text string) error {
	switch text {
	case "true", "rw":
		*s = sharing(runtime.ShareAsIs)
	case "ro":
		*s = sharing(runtime.ShareReadOnly)
	case "false":
		*s = sharing(runtime.ShareNothing)
	default:
		return fmt.Errorf("want --share-volumes or --share-volumes=ro: %w", errdefs.ErrInvalidArgument)
	}
	return nil
}

func (s *sharing) String() string {
	if s == nil {
		return ""
	}
	return string(*s)
}

// IsBoolFlag lets the value be left out.
func (s *sharing) IsBoolFlag() bool { return true }

// optionalFlag is a flag whose value may be left out.
type optionalFlag struct{ *cli.GenericFlag }

// TakesValue is for permute: the next argument is never the value.
func (optionalFlag) TakesValue() bool { return false }
