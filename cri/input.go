package cri

import (
	"context"
	"io"
	"sync"

	"github.com/porthole-project/porthole/runtime"
)

// endOfFile is what a terminal sends for the end of input (VEOF, ctrl-d).
const endOfFile = 0x04

// input reads the user's side once and serves it to one attachment after the
// other.
type input struct {
	chunks chan []byte // closed at EOF
	tty    bool
	mu     sync.Mutex // held by the attachment being served
	rest   []byte     // taken, but not yet accepted by an attachment
	last   byte
	ended  bool
}

func newInput(r io.Reader, tty bool) *input {
	in := &input{chunks: make(chan []byte), tty: tty}
	go in.read(r)
	return in
}

func (in *input) read(r io.Reader) {
	defer close(in.chunks)
	for {
		buf := make([]byte, 32<<10)
		n, err := r.Read(buf)
		if n > 0 {
			in.chunks <- buf[:n]
		}
		if err != nil {
			return
		}
	}
}

// serve writes to a until ctx is done or a fails. At EOF the container's input
// ends too: without a tty its stdin is closed; with one, which has no end, the
// end-of-file character is typed. drained is called before a stdin is closed.
func (in *input) serve(ctx context.Context, a *attachment, drained func(context.Context)) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for !in.ended {
		if len(in.rest) == 0 {
			select {
			case <-ctx.Done():
				return
			case chunk, ok := <-in.chunks:
				in.rest, in.ended = chunk, !ok
			}
		}
		for len(in.rest) > 0 {
			n, err := a.stdin.Write(in.rest[:min(len(in.rest), 32<<10)])
			if n > 0 {
				in.last = in.rest[n-1]
			}
			in.rest = in.rest[n:]
			if err != nil {
				return
			}
		}
	}
	if !in.tty {
		drained(ctx)
		_ = a.stdin.Close()
		return
	}
	// Behind an unfinished line the first one only hands over that line.
	eof := []byte{endOfFile, endOfFile}
	if in.last == '\n' || in.last == '\r' || in.last == 0 {
		eof = eof[:1]
	}
	_, _ = a.stdin.Write(eof)
}

// latestSize keeps the terminal's latest size for whichever attachment is there.
type latestSize struct {
	mu     sync.Mutex
	size   runtime.Size
	known  bool
	change chan struct{}
}

func newLatestSize(sizes <-chan runtime.Size) *latestSize {
	l := &latestSize{change: make(chan struct{})}
	go func() {
		for size := range sizes {
			l.mu.Lock()
			l.size, l.known = size, true
			close(l.change)
			l.change = make(chan struct{})
			l.mu.Unlock()
		}
	}()
	return l
}

func (l *latestSize) serve(ctx context.Context, a *attachment) {
	var sent runtime.Size
	for {
		l.mu.Lock()
		size, known, change := l.size, l.known, l.change
		l.mu.Unlock()
		if known && size != sent {
			if a.setSize(size) != nil {
				return
			}
			sent = size
		}
		select {
		case <-ctx.Done():
			return
		case <-change:
		}
	}
}
