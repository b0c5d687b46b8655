package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/runtime"
)

// stdinHold bounds how long input waits for the place of the attachment to be
// proved. A command that answers its input then does so where every byte is
// seen.
const stdinHold = 3 * time.Second

// session is one run of Stream.
type session struct {
	*Container
	streams runtime.Streams
	tty     bool
	out     *splice
	err     *splice // nil with a tty
	input   *input
	resizes *latestSize

	cutMu sync.Mutex
	cuts  map[string]cut // by the name the log got
	cutAt chan struct{}  // a token whenever a cut was confirmed
	kick  chan struct{}  // a token whenever output cannot be placed
}

// cut remembers what had been delivered when the log was cut.
type cut struct{ out, err int64 }

// Stream carries the container's streams until it ends and returns how. It
// survives a restart of the runtime: the log fills what the attachment missed.
// It returns ctx's error when ctx is done; the container then runs on. Reading
// from Stdin may go on after it returned.
func (k *Container) Stream(ctx context.Context, streams runtime.Streams) (runtime.Exit, error) {
	s := k.newSession(streams)
	following := make(chan error, 1)
	go func() { following <- k.logs.run(s) }()
	defer s.release()
	stop := context.AfterFunc(ctx, s.release)
	defer stop()

	exit, err := s.attachUntilExit(ctx)
	if err != nil {
		return runtime.Exit{}, err
	}
	// The runtime closes the log just after it has seen the end.
	k.logs.End(2 * time.Second)
	select {
	case err = <-following:
	case <-ctx.Done():
		return exit, ctx.Err()
	}
	s.both((*splice).finish)
	return exit, errors.Join(err, s.outputError())
}

func (k *Container) newSession(streams runtime.Streams) *session {
	discard := func(w io.Writer) io.Writer {
		if w == nil {
			return io.Discard
		}
		return w
	}
	s := &session{
		Container: k, streams: streams, tty: k.plan.TTY,
		cuts: map[string]cut{}, cutAt: make(chan struct{}, 1), kick: make(chan struct{}, 1),
	}
	s.out = newSplice(discard(streams.Stdout), s.tty)
	s.out.unplaced = s.unplaced
	if !s.tty {
		s.err = newSplice(discard(streams.Stderr), false)
		s.err.unplaced = s.unplaced
	}
	if k.plan.Stdin && streams.Stdin != nil {
		s.input = newInput(streams.Stdin, s.tty)
	}
	if s.tty && streams.Resizes != nil {
		s.resizes = newLatestSize(streams.Resizes)
	}
	return s
}

// both calls f for each output.
func (s *session) both(f func(*splice)) {
	f(s.out)
	if s.err != nil {
		f(s.err)
	}
}

// release lets the log's reader go: it could wait for an attachment that will
// never bring more.
func (s *session) release() { s.both((*splice).end) }

func (s *session) unplaced() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *session) outputError() error {
	var errs []error
	s.both(func(p *splice) {
		fromLog, binary, err := p.result()
		errs = append(errs, err)
		if binary && s.client.Name == "containerd" {
			s.notice(fmt.Sprintf("Warning: %d bytes of binary output came before Porthole was attached; they are from containerd's log, which drops the CR of a CRLF. "+
				"A command that waits for its input first (-i) is exact.", fromLog))
		}
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// record and finished make the session the sink of the log.
func (s *session) record(r record) {
	switch {
	case !r.stderr:
		s.out.log(r.content, r.full)
	case s.err != nil:
		s.err.log(r.content, r.full)
	}
}

func (s *session) finished(name string) {
	s.cutMu.Lock()
	c, ok := s.cuts[name]
	delete(s.cuts, name)
	s.cutMu.Unlock()
	if !ok {
		return
	}
	s.out.confirm(c.out)
	if s.err != nil {
		s.err.confirm(c.err)
	}
	select {
	case s.cutAt <- struct{}{}:
	default:
	}
}

func (s *session) abandoned() { s.both((*splice).abandon) }

// attachUntilExit keeps one attachment until the container has ended.
func (s *session) attachUntilExit(ctx context.Context) (runtime.Exit, error) {
	// A command may close its streams and run on; then there is ever less reason to
	// ask for them again.
	for soon := 500 * time.Millisecond; ; soon = min(2*soon, 10*time.Second) {
		s.both((*splice).begin)
		a, err := s.client.attach(ctx, s.id, s.input != nil, s.tty)
		if err == nil {
			s.carry(ctx, a)
		}
		s.release()
		exit, err := s.settle(ctx, err, soon)
		if err != nil {
			return runtime.Exit{}, err
		}
		if exit != nil {
			return *exit, nil
		}
	}
}

func (s *session) notice(text string) {
	if s.streams.Notice != nil {
		s.streams.Notice(text)
	}
}

// settle finds out why an attachment is over: the container has ended, or the
// runtime has gone away and will come back. An attach that the runtime refused
// although the container runs is an error. A container that runs on is believed
// to after soon.
func (s *session) settle(ctx context.Context, refused error, soon time.Duration) (*runtime.Exit, error) {
	began, told := time.Now(), false
	// A runtime takes some ten milliseconds from the end of the streams to the end
	// of the container; one that is away, a second and more.
	for wait := time.Millisecond; ; wait = min(2*wait, max(10*time.Millisecond, time.Since(began)/10)) {
		status, _, err := s.client.status(ctx, s.id, false)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errdefs.IsNotFound(err):
			return nil, fmt.Errorf("container %q was removed by somebody: %w", s.plan.Name, err)
		case err != nil && !told:
			told = true
			s.notice("runtime restarting…")
		case err != nil:
		case exitOf(status) != nil:
			return exitOf(status), nil
		case told:
			s.notice("runtime is back, the session goes on")
			return nil, nil
		case refused == nil && time.Since(began) > soon:
			return nil, nil // it runs on: the runtime closed only the stream
		case refused != nil && time.Since(began) > soon:
			return nil, refused
		}
		if time.Since(began) > s.client.limits.Create {
			return nil, fmt.Errorf("container %q: the runtime has not come back: %w", s.plan.Name, errdefs.ErrUnavailable)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// carry serves one attachment to its end.
func (s *session) carry(ctx context.Context, a *attachment) {
	s.both((*splice).opened)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, a.close)
	defer stop()
	var readers sync.WaitGroup
	readers.Go(func() { pump(a.stdout, s.out.attach); s.out.end() })
	if s.err != nil {
		readers.Go(func() { pump(a.stderr, s.err.attach); s.err.end() })
	}
	go func() { a.verdict() }()
	go s.watchForExit(ctx, a)
	placing := make(chan struct{})
	go s.placeOutput(ctx, placing)
	if s.resizes != nil {
		go s.resizes.serve(ctx, a)
	}
	if s.input != nil {
		go func() {
			select {
			case <-placing:
			case <-time.After(stdinHold):
			case <-ctx.Done():
				return
			}
			s.input.serve(ctx, a, s.drained)
		}()
	}
	readers.Wait()
	a.close()
}

// watchForExit cuts an attachment that does not end with its container. It is
// a net below the net: the runtime ends the streams itself.
func (s *session) watchForExit(ctx context.Context, a *attachment) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	ended := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		status, _, err := s.client.status(ctx, s.id, false)
		if errdefs.IsNotFound(err) || err == nil && status.GetState() == runtimeapi.ContainerState_CONTAINER_EXITED {
			if ended++; ended == 2 {
				a.close()
				return
			}
		}
	}
}

// placeOutput cuts the log until all that the attachment delivered is placed:
// at once, since a prompt may be waiting in the runtime for its newline, and
// whenever output comes that has no place yet. first is closed after the first
// cut was read.
func (s *session) placeOutput(ctx context.Context, first chan struct{}) {
	if !s.logs.Started(ctx, 100*time.Millisecond) {
		// This runtime writes no log where it said it would.
		s.both((*splice).trust)
		close(first)
		return
	}
	// A server may add the attachment a little after it opened the streams: look
	// again soon, even if nothing comes.
	unasked := []time.Duration{0, 25 * time.Millisecond, 150 * time.Millisecond}
	pause := 10 * time.Millisecond
	for round := 0; ; round++ {
		var timer <-chan time.Time
		if round < len(unasked) {
			timer = time.After(unasked[round])
		}
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		case <-timer:
		}
		if s.settledAll() && round >= len(unasked) {
			continue
		}
		s.cutLog(ctx)
		if round == 0 {
			close(first)
		}
		if round >= len(unasked) && !s.settledAll() {
			// A stream that repeats itself: ask ever less often.
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, time.Second)
			s.unplaced()
		}
	}
}

// drained waits, where the runtime needs it, until the command has been quiet
// for a moment. containerd 1.x drops what is queued in its pipes when a command
// ends (up to 128 KiB, with or without anybody attached), and a filter ends as
// soon as its input does: it is not told of the end before its output is read.
func (s *session) drained(ctx context.Context) {
	const quiet, patience = 100 * time.Millisecond, 10 * time.Second
	if s.client.Name != "containerd" || !strings.HasPrefix(strings.TrimPrefix(s.client.Version, "v"), "1.") {
		return
	}
	last, began := int64(-1), time.Now()
	for time.Since(began) < patience {
		now := s.out.delivered()
		if s.err != nil {
			now += s.err.delivered()
		}
		if now == last {
			return
		}
		last = now
		select {
		case <-ctx.Done():
			return
		case <-time.After(quiet):
		}
	}
}

func (s *session) settledAll() bool {
	all := true
	s.both(func(p *splice) { all = all && p.settled() })
	return all
}

// cutLog makes the runtime finish the present log file and waits until it was
// read to its end.
func (s *session) cutLog(ctx context.Context) {
	name, err := s.logs.Cut(time.Now())
	if err != nil {
		return
	}
	c := cut{out: s.out.delivered()}
	if s.err != nil {
		c.err = s.err.delivered()
	}
	s.cutMu.Lock()
	s.cuts[name] = c
	s.cutMu.Unlock()
	// Heard to its end: an answer that nobody waits for could come after uncut has
	// given the old file the name of the new one.
	ask, cancel := s.client.settle(ctx, s.client.limits.Call)
	defer cancel()
	if _, err := s.client.runtime.ReopenContainerLog(ask, &runtimeapi.ReopenContainerLogRequest{ContainerId: s.id}); err != nil {
		// It has ended, or the runtime is away; then it writes on into the file.
		s.logs.uncut(name)
		return
	}
	select {
	case <-s.cutAt:
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
}
