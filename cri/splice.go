package cri

import (
	"bytes"
	"io"
	"sync"
	"time"
	"unicode/utf8"
)

// Bounds of what a splice keeps while the place of an attachment is unknown.
// The attach side must cover what it is ahead of the log, the log side what the
// attach is behind in socket buffers.
const (
	maxPending = 1 << 20
	maxWindow  = 16 << 20
	maxProbe   = 4096
	maxHeld    = 1 << 20
)

// While an attachment runs whose place is unknown, what the log shows is held
// back for a moment without a tty: the attachment may be about to bring the same
// bytes with their CRs. A little while if it has brought nothing yet, longer if
// its place is being looked for.
const (
	holdEmpty   = 10 * time.Millisecond
	holdPending = 2 * time.Second
)

// splice joins two views of one output stream into exactly that stream: the CRI
// log, complete but without the CR of each CRLF, and an attachment, exact but
// beginning at an unknown place. docs/decisions/0002 says how and why.
//
// Positions count the bytes of the stream without any CR, from its beginning.
// Methods may be called from several goroutines; log and attached block while
// the output does, which is the container's back-pressure.
type splice struct {
	mu    sync.Mutex
	moved sync.Cond // emitted grew, or the attachment ended
	out   cursor

	logged  int64 // position up to which the log was read
	emitted int64 // position up to which output was written; never behind logged unless placed

	attachment bool  // one is running
	attached   int64 // bytes it has delivered
	placed     bool  // its place is known: the stream goes on from it
	base       int64 // the position at which it began, once placed
	border     bool  // nothing was written since the source changed
	abandoned  bool  // the log's writer is gone
	pending    []byte
	pendingAt  int64  // how many of the attachment's bytes come before pending
	window     []byte // the log's last bytes, ending at logged, for comparison

	hold    bool   // the log is held back
	tail    bool   // the attachment has ended unplaced; pending may be the stream's end
	held    []byte // what it showed since, beginning at heldAt
	heldAt  int64
	holding *time.Timer

	// The attachment's and the log's counts at the last cut that left the place
	// open: if neither has moved at the next, there is no doubt.
	quietAttached, quietLogged int64

	// unplaced, if set, is told that the attachment delivered what cannot be
	// placed yet.
	unplaced func()
	fromLog  int64 // bytes written that only the log told
	binary   bool  // and some of them were not text
}

func newSplice(w io.Writer, tty bool) *splice {
	s := &splice{out: cursor{w: w, tty: tty}}
	s.moved.L = &s.mu
	return s
}

// log takes one entry of the log. While an attachment is placed the log is only
// counted, and never ahead of it: when the attachment ends, the log must still
// be where the output is.
func (s *splice) log(content []byte, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := plainLen(content)
	if full {
		size++
	}
	for s.placed && s.ahead(size) {
		s.moved.Wait()
	}
	at := s.logged
	s.logged += size
	if s.attachment && !s.placed || s.tail {
		s.remember(content, full)
	}
	// CRs have no position: those that end an entry may still be unwritten when
	// all else of it is not.
	if s.placed || s.logged < s.emitted || s.logged == s.emitted && full && size > 0 && at < s.emitted {
		return
	}
	if s.hold {
		if len(s.held) == 0 {
			s.heldAt = max(at, s.emitted)
		}
		s.held = append(s.held, s.unwritten(content, at)...)
		if full {
			s.held = append(s.held, '\n')
		}
		if s.attached > 0 {
			s.keep(holdPending)
		} else {
			s.keep(holdEmpty)
		}
		return
	}
	s.tell(s.unwritten(content, at), s.logged-s.emitted)
	if full {
		s.out.newline()
	}
	s.advance(s.logged)
}

// ahead reports whether an entry of this size is not yet written as a whole.
// One of nothing but CRs is, when something behind it is.
func (s *splice) ahead(size int64) bool {
	return s.logged+size > s.emitted || size == 0 && s.logged == s.emitted
}

// tell writes what only the log told.
func (s *splice) tell(b []byte, size int64) {
	s.fromLog += size
	s.binary = s.binary || !s.out.tty && (bytes.IndexByte(b, 0) >= 0 || !utf8.Valid(b))
	s.out.write(b)
}

// keep sets the time after which what is held is written, if that is not set
// yet or is later now.
func (s *splice) keep(d time.Duration) {
	switch {
	case len(s.held) > maxHeld:
		s.letGo()
	case s.holding == nil:
		s.holding = time.AfterFunc(d, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.letGo()
		})
	case d > holdEmpty:
		s.holding.Reset(d)
	}
}

// letGo writes what is held and holds no more.
func (s *splice) letGo() {
	s.writeHeld(s.logged)
	s.stopHolding()
	s.held = nil
}

func (s *splice) stopHolding() {
	s.hold = false
	if s.holding != nil {
		s.holding.Stop()
		s.holding = nil
	}
}

// writeHeld writes of what is held that which comes before position to.
func (s *splice) writeHeld(to int64) {
	from, end := plainIndex(s.held, s.emitted-s.heldAt), plainIndex(s.held, to-s.heldAt)
	for end < len(s.held) && s.held[end] == '\r' {
		end++
	}
	if from < end {
		s.tell(s.unwritten(s.held[from:end], s.emitted), plainLen(s.held[from:end]))
		s.advance(min(to, s.heldAt+plainLen(s.held)))
	}
}

func (s *splice) remember(content []byte, full bool) {
	s.window = appendPlain(s.window, content)
	if full {
		s.window = append(s.window, '\n')
	}
	if len(s.window) > maxWindow {
		s.window = append(s.window[:0], s.window[len(s.window)-maxWindow/2:]...)
	}
}

// begin says that an attachment is about to be asked for: all that the log has
// shown so far was written before it.
func (s *splice) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tail {
		s.settleForLog() // it was not the end
	}
	s.attachment, s.placed, s.abandoned = true, false, false
	s.attached, s.pendingAt = 0, 0
	s.pending, s.window = nil, nil
	s.quietAttached, s.quietLogged = -1, -1
}

// opened says that the attachment is there: from now on it may bring what the
// log shows.
func (s *splice) opened() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = s.attachment && !s.out.tty
}

// attach takes bytes that the attachment delivered.
func (s *splice) attach(b []byte) {
	s.mu.Lock()
	size := plainLen(b)
	at := s.base + s.attached
	s.attached += size
	if s.placed {
		s.out.write(s.unwritten(b, at))
		s.advance(at + size)
		s.mu.Unlock()
		return
	}
	if s.hold && s.holding != nil && len(s.pending) == 0 {
		s.keep(holdPending)
	}
	s.pending = append(s.pending, b...)
	if len(s.pending) > maxPending {
		drop := len(s.pending) - maxPending/2
		s.pendingAt += plainLen(s.pending[:drop])
		s.pending = append(s.pending[:0], s.pending[drop:]...)
	}
	unplaced := s.unplaced
	s.mu.Unlock()
	if unplaced != nil {
		unplaced()
	}
}

// delivered is how much the attachment has brought so far, for confirm.
func (s *splice) delivered() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attached
}

// settled reports whether nothing waits to be placed.
func (s *splice) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.attachment || s.placed || s.attached == 0
}

// confirm says that the log read so far contains the attachment's first
// delivered bytes, and tries to find their place.
func (s *splice) confirm(delivered int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.attachment || s.placed {
		return
	}
	sure := delivered - s.pendingAt // of the pending bytes, how many the log has
	if sure <= 0 {
		return
	}
	pending := appendPlain(nil, s.pending)
	windowAt := s.logged - int64(len(s.window))
	last := s.logged - sure // where the pending bytes can begin at the latest
	at, unique := locate(s.window, pending, int(sure), int(last-windowAt))
	quiet := s.attached == delivered && s.quietAttached == delivered && s.quietLogged == s.logged
	s.quietAttached, s.quietLogged = delivered, s.logged
	if at < 0 {
		return
	}
	if !unique {
		if !quiet || !agrees(s.window, pending, int(last-windowAt)) {
			return
		}
		at = int(last - windowAt)
	}
	s.place(windowAt + int64(at))
}

// place begins to write from the attachment, whose pending bytes begin at
// position at.
func (s *splice) place(at int64) {
	// Of what is held, only what came before the attachment is the log's to tell.
	// The rest is kept for the case that the attachment ends before it.
	s.writeHeld(at)
	s.stopHolding()
	s.placed, s.border = true, true
	s.base = at - s.pendingAt
	s.out.write(s.unwritten(s.pending, at))
	s.advance(at + plainLen(s.pending))
	s.pending, s.window = nil, nil
}

// unwritten is what of b, which begins at position at, was not yet written. At
// the border of the two sources CRs have no position of their own: those that
// were written last are not written again.
func (s *splice) unwritten(b []byte, at int64) []byte {
	n := s.emitted - at
	i := plainIndex(b, n)
	if !s.border || n > 0 && plainLen(b[:i]) < n {
		return b[i:]
	}
	for skip := s.out.crs; skip > 0 && i < len(b) && b[i] == '\r'; skip-- {
		i++
	}
	if i < len(b) {
		s.border = false
	}
	return b[i:]
}

// advance says that output was written up to this position.
func (s *splice) advance(to int64) {
	if to > s.emitted {
		s.emitted = to
		s.moved.Broadcast()
	}
	if s.placed && s.emitted > s.logged {
		s.held = nil
	}
}

// trust places the attachment where the output stands, for a container without
// a log to compare with.
func (s *splice) trust() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attachment && !s.placed {
		s.place(s.emitted)
	}
}

// end says that the attachment delivers no more. The log goes on from where the
// output is. What was never placed is kept if nothing of it was written yet: it
// may turn out to be the end of the stream.
func (s *splice) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.attachment {
		return
	}
	s.border = s.border || s.placed
	s.tail = s.hold && !s.placed && len(s.pending) > 0
	s.attachment, s.placed = false, false
	if !s.tail {
		s.settleForLog()
	}
	if s.abandoned {
		s.logged = max(s.logged, s.emitted)
	}
	s.moved.Broadcast()
}

// settleForLog gives up what the attachment brought and was not placed.
func (s *splice) settleForLog() {
	s.tail = false
	s.letGo()
	s.pending, s.window = nil, nil
}

// finish says that the log is complete. An attachment that ended with the
// container delivered the stream's last bytes.
func (s *splice) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.tail {
		return
	}
	windowAt, size := s.logged-int64(len(s.window)), plainLen(s.pending)
	at := s.logged - size
	if s.hold && at >= windowAt && agrees(s.window, appendPlain(nil, s.pending), int(at-windowAt)) {
		s.tail = false
		s.place(at)
		return
	}
	s.settleForLog()
}

// abandon says that the writer of the log is gone and that the log was read to
// its end: what the attachment brings beyond it will never be in it. The next
// writer begins where the output then is.
func (s *splice) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logged = max(s.logged, s.emitted)
	s.abandoned = true
}

// result is the error of the output, if writing it failed, and how many bytes
// only the log told, which may lack the CR of a CRLF; binary says that this
// would matter.
func (s *splice) result() (fromLog int64, binary bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fromLog, s.binary, s.out.err
}
