package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"

	"github.com/porthole-project/porthole/internal/journal"
	"github.com/porthole-project/porthole/runtime"
)

// ErrExpired is the cause of a session's end when its time was up.
var ErrExpired = errors.New("the session's time is up")

// Outcome is how a session went.
type Outcome struct {
	Session string
	ID      string // the container's
	Verdict Verdict
	Exit    runtime.Exit
	// Ended is nil when the command ended by itself; otherwise why it was ended:
	// the cause of the context, ErrExpired or ErrStorage.
	Ended error
}

// Run carries out a prepared order to its end and removes everything it made.
// When ctx ends the container is stopped and removed, and the outcome says
// why. An error is one of Porthole, never the command's exit code; the outcome
// beside it holds as far as things went. An unattended session is left running
// once it is proved.
func (e *Engine) Run(ctx context.Context, p *Prepared, streams runtime.Streams) (out Outcome, err error) {
	out.Session = p.Session
	entry := p.entry(e.Host.Keeper)
	entry.Endpoint = e.Endpoint
	began := false
	defer func() {
		if !began {
			err = errors.Join(err, e.giveBack(ctx, p))
		}
	}()
	if err := checkPaths(entry.Paths, p.Plan.Name); err != nil {
		return out, err
	}
	if ctx.Err() != nil {
		return out, context.Cause(ctx)
	}
	pinned, err := e.pinReference(p.Facts)
	if err != nil {
		return out, err
	}
	defer pinned.close()
	if err := checkFree(entry.Paths); err != nil {
		return out, err
	}
	e.record(entry)
	began = true
	// From here on something may exist. Whatever happens, it is removed.
	left := false
	defer func() {
		if !left {
			err = errors.Join(err, e.cleanUp(context.WithoutCancel(ctx), entry, out.ID))
		}
	}()
	if entry.Paths, err = makeDirectories(entry.Paths); err != nil {
		return out, err
	}
	if err := makeTerminationLog(p.Facts.Files.TerminationLog); err != nil {
		return out, err
	}
	e.remember(p)
	defer func() { e.recall(p, out, err, left) }()
	container, err := e.Rung.Launch(ctx, p.Plan)
	if err != nil {
		if ctx.Err() != nil {
			return out, context.Cause(ctx)
		}
		return out, err
	}
	defer container.Close()
	out.ID = container.ID()
	entry.ContainerID = out.ID
	if p.order.Unattended {
		left, err = e.leave(ctx, p, pinned, container, entry, &out)
		return out, err
	}
	err = e.serve(ctx, p, pinned, container, streams, entry, &out)
	return out, err
}

// entry is what the journal says of the session before anything of it exists.
func (p *Prepared) entry(keeper string) journal.Entry {
	entry := journal.Entry{
		Session: p.Session, Keeper: keeper,
		Namespace: p.Plan.Pod.Namespace, Pod: p.Plan.Pod.Name, PodUID: p.Plan.Pod.UID, Container: p.Plan.Name,
		Created: time.Now().UTC(), Expires: p.Expires,
		Paths: []string{filepath.Join(p.Plan.LogDirectory, p.Plan.Name)},
	}
	if dir := p.Facts.Files.ContainerDir; dir != "" {
		entry.Paths = append(entry.Paths, dir)
	}
	if p.order.RemoveImage && p.Facts.Image.Pulled {
		entry.Image = p.Facts.Image.Ref
	}
	return entry
}

// serve attaches and proves side by side, so that as little as possible is
// written before the attach; but nothing goes in or comes out before the proof.
func (e *Engine) serve(ctx context.Context, p *Prepared, ref *reference, c Container, streams runtime.Streams, entry journal.Entry, out *Outcome) (err error) {
	proved := newGate()
	streaming, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		out.Exit, out.Ended, err = e.stream(streaming, p, c, proved.guard(streaming, streams))
	}()
	verdict, unproved := e.prove(ctx, p, ref, c)
	if unproved == nil && streams.Begin != nil {
		unproved = streams.Begin()
	}
	if unproved == nil {
		proved.open()
		entry.Verification = verdict.String()
		e.record(entry)
	} else {
		stop(unproved)
	}
	<-done
	out.Verdict = verdict
	if unproved != nil {
		return unproved
	}
	return err
}

// leave proves an unattended session and lets go of it. Its time is in its
// labels: whoever collects next after that removes it.
func (e *Engine) leave(ctx context.Context, p *Prepared, ref *reference, c Container, entry journal.Entry, out *Outcome) (left bool, err error) {
	if out.Verdict, err = e.prove(ctx, p, ref, c); err != nil {
		return false, err
	}
	entry.Keeper, entry.Verification = "", out.Verdict.String()
	e.record(entry)
	return true, nil
}

// prove verifies the namespaces and puts the caps on that no request carries.
func (e *Engine) prove(ctx context.Context, p *Prepared, ref *reference, c Container) (Verdict, error) {
	verdict, err := e.verify(ctx, p, ref, c)
	if err != nil {
		return verdict, err
	}
	return verdict, e.limitPids(ctx, p, c)
}

// limitPids caps the container's processes on cgroup v1. A command that has
// ended needs none.
func (e *Engine) limitPids(ctx context.Context, p *Prepared, c Container) error {
	limit := p.Plan.Resources.PidsLimit
	if limit == 0 {
		return nil
	}
	pid, err := c.PID(ctx)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err == nil && pid == 0 {
		err = fmt.Errorf("the runtime does not tell its process: %w", errdefs.ErrUnavailable)
	}
	if err == nil {
		err = e.Host.LimitPids(pid, c.ID(), limit)
	}
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("--pids-limit %d of container %q: %w", limit, p.Plan.Name, err)
}

// lastMinute is how long before its expiry a session is told of it.
const lastMinute = time.Minute

// stream carries the streams until the command ends, ctx does, time is up or
// the disk's share is.
func (e *Engine) stream(ctx context.Context, p *Prepared, container Container, streams runtime.Streams) (runtime.Exit, error, error) {
	ended := make(chan error, 1)
	end := func(why error) {
		select {
		case ended <- why:
		default: // it is being ended already
			return
		}
		if err := container.Stop(context.WithoutCancel(ctx), stopGrace); err != nil {
			e.Notice(err.Error())
		}
	}
	if p.order.TTL > 0 {
		// A timer is monotonic: setting the clock neither ends a session nor saves it.
		if notice := p.order.TTL - lastMinute; notice > 0 {
			soon := time.AfterFunc(notice, func() { e.Notice("Session " + p.Session + " ends in a minute: its time (--ttl) is up then.") })
			defer soon.Stop()
		}
		timer := time.AfterFunc(p.order.TTL, func() { end(ErrExpired) })
		defer timer.Stop()
	}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		e.watchStorage(watching, p, container, end)
	}()
	exit, err := container.Stream(ctx, streams)
	stop()
	<-watched
	select {
	case why := <-ended:
		return exit, why, err
	default:
	}
	if err != nil && ctx.Err() != nil {
		return exit, context.Cause(ctx), nil
	}
	return exit, nil, err
}
