package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/porthole-project/porthole/runtime"
)

// Verdict is what the proof of the namespaces came to.
type Verdict struct {
	// Shared are the kinds proved to be the target's.
	Shared []string
	// Differing names each kind that is not, with both namespaces.
	Differing []string
	// Unverified says why nothing could be compared, or is empty.
	Unverified string
}

// EndedFirst is the reason when the command was over before it could be looked
// at: quick commands often are, and that is not an error.
const EndedFirst = "ended first"

// String is the verdict as it stands in every record.
func (v Verdict) String() string {
	switch {
	case v.Unverified != "":
		return "unverified: " + v.Unverified
	case len(v.Differing) > 0:
		return "different: " + strings.Join(v.Differing, ", ")
	}
	return "verified: " + strings.Join(v.Shared, ", ")
}

// reference is the process whose namespaces the debug container's must be: the
// target's, or without a target the sandbox's own.
type reference struct {
	process Process
	what    string
	kinds   []string
}

func (r *reference) close() {
	if r != nil && r.process != nil {
		_ = r.process.Close()
	}
}

// pinReference takes hold of the reference before anything is created, so that
// it is the one that was resolved. A nil reference has nothing to be compared.
func (e *Engine) pinReference(f *runtime.Facts) (*reference, error) {
	// user is compared too: a container with other users than its pod's would
	// not be the one that was planned.
	r := &reference{kinds: []string{"net", "ipc", "uts", "user"}}
	pid, id := f.Sandbox.PID, f.Pod.ID
	r.what = "the pod's sandbox"
	if f.Target != nil && f.Target.PID > 0 {
		pid, id, r.what = f.Target.PID, f.Target.ID, fmt.Sprintf("target container %q", f.Target.Name)
		if f.Sandbox.ProcessIDs == runtime.ModeContainer {
			r.kinds = append([]string{"pid"}, r.kinds...)
		}
	}
	if n := f.Neighbour; pid <= 0 && n != nil && n.PID > 0 {
		// CRI-O may run pods without a process of the sandbox's own.
		pid, id, r.what = n.PID, n.ID, fmt.Sprintf("container %q", n.Name)
	}
	if pid <= 0 {
		return nil, nil
	}
	process, err := e.Host.Pin(pid)
	if err != nil {
		return nil, fmt.Errorf("%s: process %d: %w", r.what, pid, err)
	}
	r.process = process
	if in, err := process.InContainer(id); err == nil && !in {
		r.close()
		return nil, fmt.Errorf("%s: process %d is not in container %.13s (any more); try again: %w", r.what, pid, id, errdefs.ErrUnavailable)
	}
	return r, nil
}

// verify proves that the debug container's process lives in the reference's
// namespaces. What is different, or cannot be read, is an error unless the
// order allows it: an old runtime may ignore a target without a word.
func (e *Engine) verify(ctx context.Context, p *Prepared, ref *reference, c Container) (Verdict, error) {
	if ref == nil {
		return Verdict{Unverified: "the runtime tells no process to compare with"}, nil
	}
	verdict, err := e.compare(ctx, ref, c)
	switch {
	case errdefs.IsNotFound(err):
		return Verdict{Unverified: EndedFirst}, nil
	case err != nil && ctx.Err() != nil:
		return Verdict{}, context.Cause(ctx)
	case err != nil:
		verdict = Verdict{Unverified: err.Error()}
		err = fmt.Errorf("the namespaces of container %q could not be verified against %s: %w", p.Plan.Name, ref.what, err)
	case len(verdict.Differing) > 0:
		err = fmt.Errorf("container %q does not share namespaces with %s: %s (does %s support a target?): %w",
			p.Plan.Name, ref.what, strings.Join(verdict.Differing, ", "), p.Facts.Runtime, errdefs.ErrFailedPrecondition)
	}
	if err != nil && p.order.AllowMismatch {
		e.Notice("Warning: " + err.Error())
		err = nil
	}
	return verdict, err
}

// compare returns ErrNotFound when the debug container's process has ended.
func (e *Engine) compare(ctx context.Context, ref *reference, c Container) (Verdict, error) {
	pid, err := c.PID(ctx)
	if err != nil {
		return Verdict{}, err
	}
	if pid == 0 {
		return Verdict{}, fmt.Errorf("the runtime does not tell its process: %w", errdefs.ErrUnavailable)
	}
	process, err := e.Host.Pin(pid)
	if err != nil {
		return Verdict{}, err
	}
	defer process.Close()
	if in, err := process.InContainer(c.ID()); err == nil && !in {
		return Verdict{}, fmt.Errorf("process %d is another's by now: %w", pid, errdefs.ErrNotFound)
	}
	got, err := process.Namespaces()
	if err != nil {
		return Verdict{}, err
	}
	want, err := ref.process.Namespaces()
	if errdefs.IsNotFound(err) {
		return Verdict{}, fmt.Errorf("%s has ended: %w", ref.what, errdefs.ErrUnavailable)
	}
	if err != nil {
		return Verdict{}, err
	}
	var v Verdict
	for _, kind := range ref.kinds {
		if got[kind] != "" && got[kind] == want[kind] {
			v.Shared = append(v.Shared, kind)
		} else {
			v.Differing = append(v.Differing, fmt.Sprintf("%s (%s, want %s)", kind, got[kind], want[kind]))
		}
	}
	slices.Sort(v.Shared)
	return v, nil
}
