package cri

import (
	"bytes"
	"io"
	"sync"
)

// Bounds of what a splice keeps while the place of an attachment is unknown.
// The attach side must cover what it is ahead of the log, the log side what the
// attach is behind in socket buffers.
const (
	maxPending = 1 << 20
	maxWindow  = 16 << 20
	maxProbe   = 4096
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

	// The attachment's and the log's counts at the last cut that left the place
	// open: if neither has moved at the next, there is no doubt.
	quietAttached, quietLogged int64

	// unplaced, if set, is told that the attachment delivered what cannot be
	// placed yet.
	unplaced func()
	fromLog  int64 // bytes written that only the log told
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
	if s.attachment && !s.placed {
		s.remember(content, full)
	}
	// CRs have no position: those that end an entry may still be unwritten when
	// all else of it is not.
	if s.placed || s.logged < s.emitted || s.logged == s.emitted && full && size > 0 && at < s.emitted {
		return
	}
	s.fromLog += s.logged - s.emitted
	s.out.write(s.unwritten(content, at))
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
	s.attachment, s.placed, s.abandoned = true, false, false
	s.attached, s.pendingAt = 0, 0
	s.pending, s.window = nil, nil
	s.quietAttached, s.quietLogged = -1, -1
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
	i := 0
	for ; n > 0 && i < len(b); i++ {
		if b[i] != '\r' {
			n--
		}
	}
	if n > 0 || !s.border {
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
// output is.
func (s *splice) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.border = s.border || s.placed
	s.attachment, s.placed = false, false
	s.pending, s.window = nil, nil
	if s.abandoned {
		s.logged = max(s.logged, s.emitted)
	}
	s.moved.Broadcast()
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
// only the log told.
func (s *splice) result() (fromLog int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fromLog, s.out.err
}

// locate finds where in window the pending bytes can begin so that all of both
// that overlaps is equal, not behind last, and whether there is only one such
// place. sure is how many pending bytes the window has for certain.
func locate(window, pending []byte, sure, last int) (at int, unique bool) {
	at = -1
	probe := pending[:min(sure, len(pending), maxProbe)]
	for from := 0; from <= last; {
		i := bytes.Index(window[from:], probe)
		if i < 0 || from+i > last {
			break
		}
		if agrees(window, pending, from+i) {
			if at >= 0 {
				return at, false
			}
			at = from + i
		}
		from += i + 1
	}
	return at, at >= 0
}

// agrees reports whether window and pending are equal where they overlap when
// pending begins at this index of window.
func agrees(window, pending []byte, at int) bool {
	if at < 0 || at > len(window) {
		return false
	}
	n := min(len(window)-at, len(pending))
	return bytes.Equal(window[at:at+n], pending[:n])
}

// cursor is the place in the output where the next byte goes. It knows what the
// last bytes were, so that a CR at the border of the two sources is written
// once.
type cursor struct {
	w   io.Writer
	tty bool
	crs int64 // CRs written since the last other byte
	err error // the first error of w; what follows is dropped, but still counted
}

func (c *cursor) write(b []byte) {
	if len(b) == 0 {
		return
	}
	trailing := int64(len(b) - len(bytes.TrimRight(b, "\r")))
	if trailing == int64(len(b)) {
		c.crs += trailing
	} else {
		c.crs = trailing
	}
	if c.err == nil {
		_, c.err = c.w.Write(b)
	}
}

// newline ends a line of the log. On a tty every LF has a CR before it (ONLCR),
// which the log of containerd lacks.
func (c *cursor) newline() {
	if c.tty && c.crs == 0 {
		c.write([]byte("\r\n"))
		return
	}
	c.write([]byte{'\n'})
}

func plainLen(b []byte) int64 { return int64(len(b) - bytes.Count(b, []byte{'\r'})) }

// appendPlain appends b without its CRs.
func appendPlain(to, b []byte) []byte {
	for {
		i := bytes.IndexByte(b, '\r')
		if i < 0 {
			return append(to, b...)
		}
		to, b = append(to, b[:i]...), b[i+1:]
	}
}
