package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"

	"github.com/porthole-project/porthole/runtime"
)

// Order is what a user asks for, before anything is known of the pod.
type Order struct {
	Ref runtime.Ref
	// Target names the container to share processes with. With NoTarget the debug
	// container has a PID namespace of its own; else an empty Target means the
	// pod's default.
	Target   string
	NoTarget bool
	Spec     corev1.EphemeralContainer // an empty name is chosen
	TTL      time.Duration             // 0 for no expiry
	// DryRun asks for a plan only: nothing is pulled or written.
	DryRun bool
	// AllowMismatch turns a namespace that is not the target's into a warning.
	AllowMismatch bool
}

// Prepared is an order that could be carried out: the plan, and what it was
// made from.
type Prepared struct {
	Facts    *runtime.Facts
	Plan     *runtime.Plan
	Session  string
	Expires  time.Time
	order    Order
	terminal string // directory for the termination log, empty for none
}

// namePrefix begins the name of a debug container: one that nobody would give
// with kubectl debug -c, since kubelet would take ours for theirs.
const namePrefix = "porthole-"

// Prepare resolves the order and plans it. All that can be wrong with the order
// is found here, before anything is made.
func (e *Engine) Prepare(ctx context.Context, o Order) (*Prepared, error) {
	if err := runtime.ValidateImage(o.Spec.Image); err != nil {
		return nil, err
	}
	match, containers, err := e.Rung.Find(ctx, o.Ref)
	if err != nil {
		return nil, err
	}
	target, err := e.chooseTarget(o, match, containers)
	if err != nil {
		return nil, err
	}
	p := &Prepared{Session: randomName(10), order: o}
	if o.Spec.Name == "" {
		o.Spec.Name = namePrefix + randomName(8)
	}
	// The runtime is asked about pod and image at once. An image is pulled only
	// for a plan that would otherwise be good.
	present := e.lookUp(ctx, o.Spec.Image)
	if p.Facts, err = e.Rung.Facts(ctx, match.Pod, containers, target); err != nil {
		return nil, err
	}
	f := p.Facts
	f.HugepageSizes, f.ThermalThrottle = e.Host.HugepageSizes, e.Host.ThermalThrottle
	if f.Target != nil && f.Sandbox.ProcessIDs != runtime.ModeContainer {
		e.Notice(fmt.Sprintf("The pod's containers share PID namespaces already (%s); the target makes no difference to processes.", f.Sandbox.ProcessIDs))
	}
	if o.TTL > 0 {
		p.Expires = time.Now().Add(o.TTL).Truncate(time.Second)
	}
	request := runtime.Request{Spec: o.Spec, Mark: runtime.Mark{
		Session: p.Session, Owner: e.Host.Owner, Expires: p.Expires, Keeper: e.Host.Keeper,
	}}
	if f.Target != nil {
		request.Mark.Target = f.Target.Name
	}
	e.addFiles(p, o.Spec.Name)
	// First without the image, so that nothing is pulled in vain.
	f.Image = runtime.Image{Ref: o.Spec.Image}
	if _, err := runtime.NewPlan(f, withoutImageRules(request)); err != nil {
		return nil, err
	}
	if f.Image, err = e.image(ctx, o, <-present); err != nil {
		return nil, err
	}
	p.Plan, err = runtime.NewPlan(f, request)
	return p, err
}

// lookup is the answer to the question whether an image is on the node.
type lookup struct {
	image runtime.Image
	err   error
}

func (e *Engine) lookUp(ctx context.Context, ref string) <-chan lookup {
	answer := make(chan lookup, 1)
	go func() {
		image, err := e.Rung.Image(ctx, ref, corev1.PullNever, e.Notice)
		answer <- lookup{image, err}
	}()
	return answer
}

// image makes sure that the image is there, by the order's policy.
func (e *Engine) image(ctx context.Context, o Order, present lookup) (runtime.Image, error) {
	policy := o.Spec.ImagePullPolicy
	effective := policy
	if effective == "" {
		effective = runtime.DefaultPullPolicy(o.Spec.Image)
	}
	if o.DryRun || effective == corev1.PullNever || effective == corev1.PullIfNotPresent && present.err == nil {
		return present.image, present.err
	}
	return e.Rung.Image(ctx, o.Spec.Image, policy, e.Notice)
}

// withoutImageRules drops the one rule that depends on the image.
func withoutImageRules(r runtime.Request) runtime.Request {
	r.Spec = *r.Spec.DeepCopy()
	if r.Spec.SecurityContext != nil {
		r.Spec.SecurityContext.RunAsNonRoot = nil
	}
	return r
}

func (e *Engine) chooseTarget(o Order, match runtime.Match, containers []runtime.Container) (*runtime.Container, error) {
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
		e.Notice(choice.Note)
	}
	return &choice.Container, nil
}

// addFiles finds the files that kubelet mounts into every container of the pod.
// Without them (a pod that kubelet did not make) the plan has no such mounts.
func (e *Engine) addFiles(p *Prepared, name string) {
	files := e.Host.Files(p.Facts, name)
	p.Facts.Files.EtcHosts = files.EtcHosts
	if files.ContainerDir != "" {
		p.terminal = files.ContainerDir
		p.Facts.Files.TerminationLog = filepath.Join(files.ContainerDir, randomHex())
	}
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
