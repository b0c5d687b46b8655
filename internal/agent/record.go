package agent

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/containerd/errdefs"

	"github.com/porthole-project/porthole/internal/journal"
	"github.com/porthole-project/porthole/runtime"
	"github.com/porthole-project/porthole/runtime/ephemeral"
)

// remember writes down what is about to be added to the pod. Kubernetes keeps
// that in the pod's spec for as long as there is a pod; so does the record.
func (e *Engine) remember(p *Prepared) {
	spec, err := ephemeral.JSON(&p.Spec)
	if err != nil {
		panic("an API object is always valid JSON: " + err.Error())
	}
	e.writeRecord(journal.Record{
		Session: p.Session, Namespace: p.Plan.Pod.Namespace, Pod: p.Plan.Pod.Name, PodUID: p.Plan.Pod.UID, Container: p.Plan.Name,
		Target: p.Spec.TargetContainerName, Owner: e.Host.Owner, Endpoint: e.Endpoint, Image: p.Plan.Image.Ref, ImageID: p.Plan.Image.ID,
		Spec: spec, Options: p.order.Options(), Created: time.Now().UTC(), Expires: p.Expires.UTC(),
	})
}

// Options are what the order has beyond the spec, by the names of their flags.
func (o *Order) Options() map[string]string {
	out := map[string]string{}
	set := func(name, value string, is bool) {
		if is {
			out[name] = value
		}
	}
	set("as-target", "true", o.AsTarget)
	set("share-volumes", string(o.Share), o.Share != runtime.ShareNothing)
	set("copy-env", "true", o.CopyEnv)
	set("user", o.Username, o.Username != "")
	set("memory", strconv.FormatInt(o.Caps.Memory, 10), o.Caps.Memory > 0)
	set("cpus", strconv.FormatFloat(float64(o.Caps.MilliCPU)/1000, 'f', -1, 64), o.Caps.MilliCPU > 0)
	set("pids-limit", strconv.FormatInt(o.Caps.Pids, 10), o.Caps.Pids > 0)
	set("storage-limit", strconv.FormatInt(o.Caps.Storage, 10), o.Caps.Storage > 0)
	if o.Caps.OOMScoreAdj != nil {
		set("oom-score-adj", strconv.FormatInt(*o.Caps.OOMScoreAdj, 10), true)
	}
	set("rm-image", "true", o.RemoveImage)
	set("attach", "false", o.Unattended)
	return out
}

// recall completes the record with how the session went. What came to nothing
// is forgotten: no container ever had the name.
func (e *Engine) recall(p *Prepared, out Outcome, err error, left bool) {
	if e.Records == nil {
		return
	}
	if out.ID == "" {
		if err := e.Records.Remove(p.Session); err != nil {
			e.Notice("Warning: " + err.Error())
		}
		return
	}
	r, ok := e.Records.Read(p.Session)
	if !ok {
		return // pruned: the pod has gone
	}
	r.ContainerID, r.Verification = out.ID, out.Verdict.String()
	if !left {
		r.Ended, r.Reason = time.Now().UTC(), out.Exit.Reason
		if !out.Exit.Finished.IsZero() {
			code := out.Exit.Code
			r.ExitCode = &code
		}
		for _, why := range []error{out.Ended, err} {
			if why != nil {
				r.Cause = why.Error()
			}
		}
	}
	e.writeRecord(r)
}

// closeRecord completes the record of a session that is collected.
func (e *Engine) closeRecord(k runtime.Info, why string) {
	if e.Records == nil {
		return
	}
	r, ok := e.Records.Read(k.Mark.Session)
	if !ok {
		return
	}
	r.ContainerID, r.Ended, r.Cause = k.ID, time.Now().UTC(), why
	if k.Exit != nil {
		r.ExitCode, r.Reason = &k.Exit.Code, k.Exit.Reason
	}
	e.writeRecord(r)
}

// writeRecord keeps the record if it can. A node whose disk is full or
// read-only must still be opened.
func (e *Engine) writeRecord(r journal.Record) {
	if e.Records == nil {
		return
	}
	if err := e.Records.Write(r); err != nil {
		e.Notice("Warning: " + err.Error() + "; this session is not remembered once it has ended.")
		e.Records = nil
	}
}

// History lists what was added to the pods that are on this node, ended or not,
// the oldest first. It forgets what was added to pods that have gone.
func (e *Engine) History(ctx context.Context) ([]journal.Record, error) {
	if e.Records == nil {
		return nil, nil
	}
	if err := e.prune(ctx); err != nil {
		return nil, err
	}
	return e.Records.List()
}

func (e *Engine) prune(ctx context.Context) error {
	if e.Records == nil {
		return nil
	}
	pods, err := e.Store.Pods(ctx, nil)
	if err != nil {
		return err
	}
	alive := map[string]bool{}
	for _, p := range pods {
		alive[p.UID] = true
	}
	return e.Records.Prune(func(r journal.Record) bool { return alive[r.PodUID] || e.foreign(r.Endpoint) })
}

// Inspected is all that is known of one session.
type Inspected struct {
	Live   *Session        // nil once its container is gone
	Record *journal.Record // nil where no state is kept
}

// Inspect finds a session by its name, its container's name, or the beginning
// of the container's ID (at least 4 characters).
func (e *Engine) Inspect(ctx context.Context, name string) (Inspected, error) {
	sessions, err := e.Sessions(ctx)
	if err != nil {
		return Inspected{}, err
	}
	history, err := e.History(ctx)
	if err != nil {
		return Inspected{}, err
	}
	found := map[string]Inspected{}
	for _, s := range sessions {
		if named(name, s.Mark.Session, s.Name, s.ID) {
			found[s.Mark.Session] = Inspected{Live: &s}
		}
	}
	for _, r := range history {
		if in, ok := found[r.Session]; ok || named(name, r.Session, r.Container, r.ContainerID) {
			in.Record = &r
			found[r.Session] = in
		}
	}
	switch len(found) {
	case 0:
		return Inspected{}, fmt.Errorf("no session %q on this node; 'porthole ps -a' lists them: %w", name, errdefs.ErrNotFound)
	case 1:
		for _, in := range found {
			return in, nil
		}
	}
	return Inspected{}, fmt.Errorf("%q is ambiguous: it means %d sessions; name one by its session: %w", name, len(found), errdefs.ErrFailedPrecondition)
}

func named(name, session, container, id string) bool {
	return name == session || name == container || len(name) >= 4 && len(id) >= len(name) && id[:len(name)] == name
}
