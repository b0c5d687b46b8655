package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	// the cause of the context, or ErrExpired.
	Ended error
}

// Run carries out a prepared order to its end and removes everything it made.
// When ctx ends the container is stopped and removed, and the outcome says
// why. An error is one of Porthole, never the command's exit code; the outcome
// beside it holds as far as things went.
func (e *Engine) Run(ctx context.Context, p *Prepared, streams runtime.Streams) (out Outcome, err error) {
	out.Session = p.Session
	entry := journal.Entry{
		Session: p.Session, Keeper: e.Host.Keeper,
		Namespace: p.Plan.Pod.Namespace, Pod: p.Plan.Pod.Name, PodUID: p.Plan.Pod.UID, Container: p.Plan.Name,
		Created: time.Now().UTC(), Expires: p.Expires,
		Paths: []string{filepath.Join(p.Plan.LogDirectory, p.Plan.Name)},
	}
	if p.terminal != "" {
		entry.Paths = append(entry.Paths, p.terminal)
	}
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
	e.record(entry)
	// From here on something may exist. Whatever happens, it is removed.
	defer func() { err = errors.Join(err, e.cleanUp(context.WithoutCancel(ctx), entry, out.ID)) }()
	if entry.Paths, err = makeDirectories(entry.Paths); err != nil {
		return out, err
	}
	if err := makeTerminationLog(p.Facts.Files.TerminationLog); err != nil {
		return out, err
	}
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
	err = e.serve(ctx, p, pinned, container, streams, entry, &out)
	return out, err
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
	verdict, unproved := e.verify(ctx, p, ref, c)
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

// lastMinute is how long before its expiry a session is told of it.
const lastMinute = time.Minute

// stream carries the streams until the command ends, ctx does, or time is up.
func (e *Engine) stream(ctx context.Context, p *Prepared, container Container, streams runtime.Streams) (runtime.Exit, error, error) {
	expired := make(chan struct{})
	if p.order.TTL > 0 {
		// A timer is monotonic: setting the clock neither ends a session nor saves it.
		if notice := p.order.TTL - lastMinute; notice > 0 {
			soon := time.AfterFunc(notice, func() { e.Notice("Session " + p.Session + " ends in a minute: its time (--ttl) is up then.") })
			defer soon.Stop()
		}
		timer := time.AfterFunc(p.order.TTL, func() {
			close(expired)
			if err := container.Stop(context.WithoutCancel(ctx), stopGrace); err != nil {
				e.Notice(err.Error())
			}
		})
		defer timer.Stop()
	}
	exit, err := container.Stream(ctx, streams)
	select {
	case <-expired:
		return exit, ErrExpired, err
	default:
	}
	if err != nil && ctx.Err() != nil {
		return exit, context.Cause(ctx), nil
	}
	return exit, nil, err
}

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
	return e.forget(entry)
}

// forget removes what is left of a session once its container is gone.
func (e *Engine) forget(entry journal.Entry) error {
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
	if e.Journal != nil && entry.Session != "" {
		return e.Journal.Remove(entry.Session)
	}
	return nil
}

// makeDirectories makes the session's own directories and returns those that it
// made: one that is there already belongs to somebody else, who used the name
// before, and must not be removed with this session.
func makeDirectories(paths []string) (made []string, err error) {
	for _, path := range paths {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return made, fmt.Errorf("directory of container %q: %w", filepath.Base(path), err)
		}
		err := os.Mkdir(path, 0o755)
		if errors.Is(err, fs.ErrExist) {
			return made, fmt.Errorf("container name %q was used in this pod before (%s exists); choose another: %w", filepath.Base(path), path, errdefs.ErrAlreadyExists)
		}
		if err != nil {
			return made, fmt.Errorf("directory of container %q: %w", filepath.Base(path), err)
		}
		made = append(made, path)
	}
	return made, nil
}

// makeTerminationLog makes the file as kubelet does (makeMounts): empty and
// writable for any user of the container.
func makeTerminationLog(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("termination log %s is there already: %w", path, err)
	}
	if err != nil {
		return fmt.Errorf("termination log: %w", err)
	}
	// The umask may have taken bits away.
	return errors.Join(f.Chmod(0o666), f.Close())
}

// randomHex is the name of a termination log: eight hex digits.
func randomHex() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
