package agent

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/containerd/errdefs"

	"github.com/porthole-project/porthole/internal/journal"
)

// record writes the journal. A node whose disk is full or read-only must still
// be opened: the labels alone will do.
func (e *Engine) record(entry journal.Entry) {
	if e.Journal == nil {
		return
	}
	if err := e.Journal.Write(entry); err != nil {
		e.Notice("Warning: " + err.Error() + "; after a crash an empty log directory could stay until the pod goes.")
		e.Journal = nil
	}
}

// cleanUp removes a session's container, directories and entry, in this order:
// what remains after a crash in the middle is still known.
func (e *Engine) cleanUp(ctx context.Context, entry journal.Entry, id string) error {
	if id != "" {
		if err := e.Store.Remove(ctx, id, stopGrace); err != nil {
			return fmt.Errorf("clean up session %s: %w; 'porthole gc' will try again", entry.Session, err)
		}
	}
	return e.forget(ctx, entry)
}

// giveBack undoes what was done for a session that did not begin. An image that
// was asked for may still arrive where the answer was not waited for; then the
// journal goes on naming it, and gc removes it.
func (e *Engine) giveBack(ctx context.Context, p *Prepared) error {
	if !p.pulling {
		return nil
	}
	if err := e.Store.RemoveImage(context.WithoutCancel(ctx), p.order.Spec.Image); err != nil && !errdefs.IsFailedPrecondition(err) {
		return fmt.Errorf("clean up session %s: %w; 'porthole gc' will try again", p.Session, err)
	}
	if e.Journal == nil || ctx.Err() != nil && p.Plan == nil {
		return nil
	}
	return e.Journal.Remove(p.Session)
}

// forget removes what is left of a session once its container is gone.
func (e *Engine) forget(ctx context.Context, entry journal.Entry) error {
	if err := checkPaths(entry.Paths, entry.Container); err != nil {
		return err
	}
	var errs []error
	for _, path := range entry.Paths {
		errs = append(errs, os.RemoveAll(path))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up session %s: %w", entry.Session, err)
	}
	if entry.Image != "" {
		switch err := e.Store.RemoveImage(ctx, entry.Image); {
		case errdefs.IsFailedPrecondition(err):
			e.Notice("The image stays: " + err.Error()) // it is somebody else's, too
		case err != nil:
			return fmt.Errorf("clean up session %s: %w; 'porthole gc' will try again", entry.Session, err)
		}
	}
	if e.Journal != nil && entry.Session != "" {
		return e.Journal.Remove(entry.Session)
	}
	return nil
}
