package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"

	"github.com/porthole-project/porthole/internal/journal"
	"github.com/porthole-project/porthole/runtime"
	"github.com/porthole-project/porthole/runtime/ephemeral"
)

// Order is what a user asks for, before anything is known of the pod.
type Order struct {
	Ref runtime.Ref
	// Target names the container to share processes with. With NoTarget the debug
	// container has a PID namespace of its own; else an empty Target means the
	// pod's default.
	Target   string
	NoTarget bool
	// Spec is the ephemeral container; an empty name is chosen. Its target is what
	// Target says.
	Spec corev1.EphemeralContainer
	TTL  time.Duration // 0 for no expiry
	// SpecOnly asks for no more than the spec, for which no image is needed.
	SpecOnly bool
	// DryRun asks for a plan only: nothing is pulled or written.
	DryRun bool
	// Unattended sessions are not ended with the caller: they run until their time
	// is up.
	Unattended bool
	// AllowMismatch turns a namespace that is not the target's into a warning.
	AllowMismatch bool
	// Remote is set for a caller who is not root on the node.
	Remote bool

	// Profiled says that the spec's security context is a profile's, about which
	// kubectl has a warning.
	Profiled bool

	// What the API cannot say; see runtime.Request.
	AsTarget bool
	Share    runtime.Sharing
	CopyEnv  bool
	Username string
	Caps     runtime.Caps
	// RemoveImage removes the image afterwards if it was pulled for this session.
	RemoveImage bool
}

// Prepared is an order that could be carried out: the plan, and what it was
// made from.
type Prepared struct {
	Facts   *runtime.Facts
	Plan    *runtime.Plan
	Spec    corev1.EphemeralContainer // as it could be given to the API
	Session string
	Expires time.Time
	order   Order
	notes   []string // for the user, once it is known that the order is good
	// pulling is set once the journal says that the image is to be removed.
	pulling bool
}

// namePrefix begins the name of a debug container: one that nobody would give
// with kubectl debug -c, since kubelet would take ours for theirs.
const namePrefix = "porthole-"

// Prepare resolves the order and plans it. All that can be wrong with the order
// is found here, before anything is made.
func (e *Engine) Prepare(ctx context.Context, o Order) (*Prepared, error) {
	match, containers, err := e.Rung.Find(ctx, o.Ref)
	if err != nil {
		return nil, err
	}
	// The runtime is asked about pod and image at once. An image is pulled only
	// for a plan that would otherwise be good.
	present := e.lookUp(ctx, o.Spec.Image)
	p := &Prepared{Session: randomName(10), order: o}
	target, noTarget := p.chooseTarget(match, containers)
	if noTarget != nil && !errdefs.IsNotFound(noTarget) {
		return nil, noTarget
	}
	if p.Facts, err = e.Rung.Facts(ctx, match.Pod, containers, target); err != nil {
		return nil, err
	}
	request, err := e.request(ctx, p, target)
	if err != nil {
		return nil, errors.Join(noTarget, err)
	}
	f := p.Facts
	if noTarget != nil {
		// The name is checked with all else that the API would say of the spec.
		request.Spec.TargetContainerName = o.Target
		_, err := runtime.NewPlan(f, request)
		switch {
		case !errdefs.IsInvalidArgument(err):
			return nil, noTarget
		case strings.Contains(err.Error(), "\n"):
			return nil, err // of several the candidates of one would not be clear
		}
		return nil, fmt.Errorf("%w; %w", err, noTarget)
	}
	// First without the image, so that nothing is pulled in vain.
	plan, err := runtime.NewPlan(f, request)
	if err == nil {
		err = e.checkMounts(p, plan)
	}
	if err != nil {
		return nil, err
	}
	for _, line := range p.notes {
		e.Notice(line)
	}
	if o.SpecOnly {
		p.Plan = plan
		return p, nil
	}
	if f.Image, err = e.image(ctx, p, <-present); err == nil {
		// Its time begins when the image is there.
		if o.TTL > 0 {
			p.Expires = time.Now().Add(o.TTL).Truncate(time.Second)
			request.Mark.Expires = p.Expires
		}
		p.Plan, err = runtime.NewPlan(f, request)
	}
	if err != nil {
		return nil, errors.Join(err, e.giveBack(ctx, p))
	}
	for _, line := range p.Plan.Warnings {
		e.Notice(line)
	}
	return p, nil
}

// checkMounts looks at every host path that the plan mounts. A volume's owner
// may have put a link there since kubelet did.
func (e *Engine) checkMounts(p *Prepared, plan *runtime.Plan) error {
	for _, m := range plan.Mounts {
		if m.HostPath == "" || m.HostPath == p.Facts.Files.TerminationLog {
			continue
		}
		if err := e.Host.CheckMount(m.HostPath); err != nil {
			return fmt.Errorf("mount at %s: %w", m.ContainerPath, err)
		}
	}
	return nil
}

// request completes the spec and the facts that it depends on.
func (e *Engine) request(ctx context.Context, p *Prepared, target *runtime.Container) (runtime.Request, error) {
	o, f := &p.order, p.Facts
	spec := o.Spec.DeepCopy()
	if spec.Name == "" {
		spec.Name = namePrefix + randomName(8)
	}
	spec.TargetContainerName = ""
	if target != nil {
		spec.TargetContainerName = target.Name
	}
	e.Host.Describe(ctx, f, spec)
	e.verbose("pod spec: " + f.SpecSource)
	if e.Records != nil {
		f.UsedNames = e.Records.Names(f.Pod.UID)
	}
	f.Image = runtime.Image{Ref: spec.Image}
	if f.Target != nil && f.Sandbox.ProcessIDs != runtime.ModeContainer {
		p.notes = append(p.notes, fmt.Sprintf("The pod's containers share PID namespaces already (%s); the target makes no difference to processes.", f.Sandbox.ProcessIDs))
	}
	if o.AsTarget {
		if err := runtime.AsTarget(spec, f); err != nil {
			return runtime.Request{}, err
		}
		p.notes = append(p.notes, runtime.AsTargetWarning)
	} else if line := ephemeral.NonRootWarning(spec, f.PodUser()); o.Profiled && line != "" {
		p.notes = append(p.notes, line)
	}
	if f.Files.ContainerDir != "" {
		f.Files.TerminationLog = filepath.Join(f.Files.ContainerDir, randomHex())
	}
	mark := runtime.Mark{Session: p.Session, Owner: e.Host.Owner, Keeper: e.Host.Keeper, Target: spec.TargetContainerName}
	if o.Unattended {
		mark.Keeper = "" // nobody's death ends it
	}
	p.Spec = *spec
	return runtime.Request{
		Spec: *spec, Mark: mark, Remote: o.Remote, Share: o.Share, CopyEnv: o.CopyEnv, Username: o.Username, Caps: o.Caps,
	}, nil
}

// lookup is the answer to the question whether an image is on the node.
type lookup struct {
	image runtime.Image
	err   error
}

// lookUp asks, unless the reference is one that the plan will refuse.
func (e *Engine) lookUp(ctx context.Context, ref string) <-chan lookup {
	answer := make(chan lookup, 1)
	if err := ephemeral.ValidateImage(ref); err != nil {
		answer <- lookup{err: err}
		return answer
	}
	go func() {
		image, err := e.Rung.Image(ctx, runtime.ImageOrder{Ref: ref, Policy: corev1.PullNever, Notice: e.Notice})
		answer <- lookup{image, err}
	}()
	return answer
}

// image makes sure that the image is there, by the order's policy.
func (e *Engine) image(ctx context.Context, p *Prepared, present lookup) (runtime.Image, error) {
	spec := &p.order.Spec
	policy := spec.ImagePullPolicy
	if policy == "" {
		policy = ephemeral.DefaultPullPolicy(spec.Image)
	}
	if p.order.DryRun && errdefs.IsNotFound(present.err) && policy != corev1.PullNever {
		return present.image, fmt.Errorf("image %q is not on the node, so that its ID is not known; without --dry-run it would be pulled: %w", spec.Image, errdefs.ErrNotFound)
	}
	if p.order.DryRun || policy == corev1.PullNever || policy == corev1.PullIfNotPresent && present.err == nil {
		return present.image, present.err
	}
	if p.order.RemoveImage && errdefs.IsNotFound(present.err) {
		// A crash after the pull must not leave the image either.
		e.record(journal.Entry{Session: p.Session, Keeper: e.Host.Keeper, Namespace: p.Facts.Pod.Namespace, Pod: p.Facts.Pod.Name, PodUID: p.Facts.Pod.UID,
			Container: p.Spec.Name, Created: time.Now().UTC(), Image: spec.Image, Endpoint: e.Endpoint})
		p.pulling = true
	}
	image, err := e.Rung.Image(ctx, runtime.ImageOrder{
		Ref: spec.Image, Policy: spec.ImagePullPolicy, Facts: p.Facts, Credentials: e.Host.Credentials, Notice: e.Notice,
	})
	if err == nil && image.Source != "" {
		what := "it stays on the node, where any pod may use it without a credential; --rm-image removes it afterwards"
		if p.order.RemoveImage && image.Pulled {
			what = "until it is removed again any pod on the node may use it without a credential"
		}
		e.Notice(fmt.Sprintf("Warning: image %q was pulled with a credential (%s): %s.", spec.Image, image.Source, what))
	}
	return image, err
}

func (p *Prepared) chooseTarget(match runtime.Match, containers []runtime.Container) (*runtime.Container, error) {
	o := &p.order
	if o.NoTarget {
		return nil, nil
	}
	want := o.Target
	if want == "" && match.Container != nil {
		want = match.Container.ID // of all attempts of that name, the one that was named
	}
	choice, err := runtime.ChooseTarget(match.Pod, containers, want)
	if err != nil {
		return nil, err
	}
	if choice.Note != "" {
		p.notes = append(p.notes, choice.Note)
	}
	return &choice.Container, nil
}

// checkPaths makes sure that what will be removed at the end is the debug
// container's own directory and nothing else.
func checkPaths(paths []string, name string) error {
	for _, path := range paths {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || filepath.Base(path) != name || name == "" {
			return fmt.Errorf("directory %q is not one of container %q alone: %w", path, name, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}
