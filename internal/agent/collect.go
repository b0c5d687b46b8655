package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"

	"github.com/porthole-project/porthole/internal/journal"
	"github.com/porthole-project/porthole/runtime"
)

// Removed is one session that was collected, and why.
type Removed struct {
	Session, Container, Pod string
	Why                     string
}

// endedGrace is how long the keeper of a session that has ended may take to
// remove it.
const endedGrace = 10 * time.Second

// Doomed lists what Collect would remove, without removing it.
func (e *Engine) Doomed(ctx context.Context, all bool) ([]Removed, error) {
	return e.collect(ctx, all, false)
}

// Collect removes what has ended, has expired or has lost its keeper: the
// containers with their directories, and what a crash left before there was a
// container. With all, the live sessions of others go too. Containers without
// our label are not looked at.
func (e *Engine) Collect(ctx context.Context, all bool) ([]Removed, error) {
	return e.collect(ctx, all, true)
}

func (e *Engine) collect(ctx context.Context, all, really bool) ([]Removed, error) {
	entries, listErr := e.entries()
	containers, err := e.Store.Ours(ctx)
	if err != nil {
		return nil, err
	}
	if really && e.unborn(entries, containers) {
		// The runtime may still be making a container for a caller who is gone.
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
		if containers, err = e.Store.Ours(ctx); err != nil {
			return nil, err
		}
	}
	var out []Removed
	errs := []error{listErr}
	for _, k := range containers {
		entry := entries[k.Mark.Session]
		delete(entries, k.Mark.Session)
		why := e.why(k, entry, all)
		if why == "" {
			continue
		}
		out = append(out, Removed{k.Mark.Session, k.Name, k.Pod.FullName(), why})
		if really {
			errs = append(errs, e.remove(ctx, k, entry, why))
		}
	}
	for _, entry := range entries {
		// No container: its keeper is about to make one, or to remove the rest.
		if alive, known := e.Host.Running(entry.Keeper); !all && (alive || !known && !past(entry.Expires)) {
			continue
		}
		out = append(out, Removed{entry.Session, entry.Container, entry.Namespace + "/" + entry.Pod, "left without a container"})
		if really {
			errs = append(errs, e.forget(ctx, entry))
		}
	}
	if really {
		errs = append(errs, e.prune(ctx))
	}
	return out, errors.Join(errs...)
}

func (e *Engine) entries() (map[string]journal.Entry, error) {
	out := map[string]journal.Entry{}
	if e.Journal == nil {
		return out, nil
	}
	list, err := e.Journal.List()
	for _, entry := range list {
		if !e.foreign(entry.Endpoint) {
			out[entry.Session] = entry
		}
	}
	return out, err
}

// unborn reports whether a keeper died so recently that the runtime could
// still be creating its container.
func (e *Engine) unborn(entries map[string]journal.Entry, containers []runtime.Info) bool {
	have := map[string]bool{}
	for _, k := range containers {
		have[k.Mark.Session] = true
	}
	for _, entry := range entries {
		alive, known := e.Host.Running(entry.Keeper)
		if !have[entry.Session] && known && !alive && time.Since(entry.Created) < endedGrace {
			return true
		}
	}
	return false
}

// foreign reports whether something belongs to another runtime.
func (e *Engine) foreign(endpoint string) bool {
	return endpoint != "" && e.Endpoint != "" && endpoint != e.Endpoint
}

// why says why a container is to be removed, or nothing. One that nobody keeps
// has a keeper in the journal until it is proved to be the right one.
func (e *Engine) why(k runtime.Info, entry journal.Entry, all bool) string {
	alive, known := e.Host.Running(cmp.Or(k.Mark.Keeper, entry.Keeper))
	switch {
	case k.Exit != nil && (known && !alive || time.Since(k.Exit.Finished) > endedGrace):
		return fmt.Sprintf("ended with exit code %d", k.Exit.Code)
	case k.Exit != nil && !all:
		return "" // its keeper is at it
	case past(k.Mark.Expires):
		return "expired at " + k.Mark.Expires.UTC().Format(time.RFC3339)
	case known && !alive:
		return "lost its keeper"
	case all:
		return "asked for"
	}
	return ""
}

func past(t time.Time) bool { return !t.IsZero() && time.Now().After(t) }

func (e *Engine) remove(ctx context.Context, k runtime.Info, entry journal.Entry, why string) error {
	if !runtime.IsOurs(k.Labels) {
		return fmt.Errorf("container %.13s is not one of Porthole's: %w", k.ID, errdefs.ErrInvalidArgument)
	}
	if err := e.Store.Reap(ctx, k.ID, stopGrace); err != nil {
		return fmt.Errorf("session %s: %w", k.Mark.Session, err)
	}
	e.closeRecord(k, why)
	entry.Session, entry.Container = k.Mark.Session, k.Name
	// The journal may be gone; what the runtime tells is enough.
	for _, path := range k.Paths {
		if checkPaths([]string{path}, k.Name) == nil {
			entry.Paths = append(entry.Paths, path)
		}
	}
	return e.forget(ctx, entry)
}

// Session is a debug container as shown to people, with what the journal adds.
type Session struct {
	runtime.Info
	Verification string
}

// Sessions lists Porthole's containers on this node.
func (e *Engine) Sessions(ctx context.Context) ([]Session, error) {
	containers, err := e.Store.Ours(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := e.entries()
	var out []Session
	for _, k := range containers {
		out = append(out, Session{Info: k, Verification: entries[k.Mark.Session].Verification})
	}
	return out, err
}
