package cri

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// loggedRecord is one entry as a runtime writes it.
type loggedRecord struct {
	content string
	full    bool
}

// logLikeContainerd splits a stream into entries: the CR of a CRLF is dropped,
// what stands before a cut or the end without a newline is partial.
func logLikeContainerd(stream string, cuts ...int) []loggedRecord {
	var out []loggedRecord
	from := 0
	for _, cut := range append(cuts, len(stream)) {
		part := stream[from:cut]
		for part != "" {
			line, rest, full := strings.Cut(part, "\n")
			if full {
				line = strings.TrimSuffix(line, "\r")
			}
			out = append(out, loggedRecord{line, full})
			part = rest
		}
		from = cut
	}
	return out
}

func feed(s *splice, records []loggedRecord) {
	for _, r := range records {
		s.log([]byte(r.content), r.full)
	}
}

func TestSpliceFromLogAlone(t *testing.T) {
	var out bytes.Buffer
	s := newSplice(&out, false)
	const stream = "one\ntwo\x00\xff\nthree"
	feed(s, logLikeContainerd(stream))
	if out.String() != stream {
		t.Errorf("got %q, want %q", out.String(), stream)
	}
}

func TestSpliceRestoresCRsOnATTYOnly(t *testing.T) {
	for _, tty := range []bool{false, true} {
		var out bytes.Buffer
		s := newSplice(&out, tty)
		feed(s, logLikeContainerd("a\r\nb\rc\r\n"))
		want := map[bool]string{false: "a\nb\rc\n", true: "a\r\nb\rc\r\n"}[tty]
		if out.String() != want {
			t.Errorf("tty %v: got %q, want %q", tty, out.String(), want)
		}
	}
}

// The attachment begins in the middle of a line that the log shows only after
// the cut.
func TestSplicePlacesAfterACut(t *testing.T) {
	var out bytes.Buffer
	s := newSplice(&out, true)
	s.begin()
	s.log([]byte("welcome"), true)
	s.attach([]byte("$ "))
	if out.String() != "welcome\r\n" {
		t.Fatalf("wrote %q before the place was known", out.String())
	}
	n := s.delivered()
	s.log([]byte("/ # $ "), false) // the cut shows the unfinished line
	s.confirm(n)
	s.attach([]byte("ls\r\n"))
	if got, want := out.String(), "welcome\r\n/ # $ ls\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A line that repeats must not be taken for an earlier one of the same text,
// however long and unique the match looks before the log has caught up.
func TestSpliceRepeatingLines(t *testing.T) {
	var out bytes.Buffer
	s := newSplice(&out, false)
	line := strings.Repeat("tick ", 20)
	s.begin()
	s.log([]byte(line), true)
	s.attach([]byte(line + "\n")) // the second one; the log lags
	s.confirm(0)
	s.log([]byte(line), true) // now it does not
	n := s.delivered()
	s.confirm(n)
	s.confirm(n) // nothing moved between two cuts
	s.attach([]byte(line + "\n"))
	if got, want := out.String(), strings.Repeat(line+"\n", 3); got != want {
		t.Errorf("got %d bytes, want %d", len(got), len(want))
	}
}

// The runtime may have added the attachment before its client knows, and the
// log's reader be quicker than the attachment.
func TestSpliceLogBeforeTheAttachmentIsOpen(t *testing.T) {
	var out bytes.Buffer
	s := newSplice(&out, false)
	s.begin()
	s.log([]byte("line"), true)
	s.log([]byte("no newline"), false)
	s.opened()
	s.attach([]byte("line\nno newline"))
	s.confirm(s.delivered())
	s.end()
	if got, want := out.String(), "line\nno newline"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A command that ends before its output was placed: the attachment's bytes are
// the stream's last ones, and exact.
func TestSpliceOfWhatEndsFirst(t *testing.T) {
	var out bytes.Buffer
	s := newSplice(&out, false)
	s.log([]byte("before"), true)
	s.begin()
	s.opened()
	s.log([]byte("a"), true)
	s.attach([]byte("b\r\nc\r"))
	s.log([]byte("b"), true)
	s.end()
	s.end()
	s.log([]byte("c\r"), false)
	s.finish()
	if got, want := out.String(), "before\na\nb\r\nc\r"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSpliceNeverGuessesWhileAStreamRepeats(t *testing.T) {
	var out bytes.Buffer
	s := newSplice(&out, false)
	s.begin()
	for range 1000 {
		s.log([]byte("y"), true)
	}
	s.attach([]byte(strings.Repeat("y\n", 500)))
	s.confirm(s.delivered())
	if s.placed {
		t.Fatal("placed an attachment that could have begun anywhere")
	}
	s.attach([]byte(strings.Repeat("y\n", 500)))
	for range 500 {
		s.log([]byte("y"), true)
	}
	s.end()
	if got := strings.Count(out.String(), "y\n"); got != 1500 {
		t.Errorf("got %d lines, want 1500", got)
	}
}

func TestSpliceResumesFromTheLogWhenTheAttachmentEnds(t *testing.T) {
	var out bytes.Buffer
	s := newSplice(&out, true)
	s.begin()
	s.attach([]byte("a\r\nb\r"))
	s.log([]byte("a"), true)
	s.log([]byte("b\r"), false)
	s.confirm(s.delivered())
	s.end()
	s.log(nil, true) // the LF of "b\r\n", cut off from its CR
	s.log([]byte("c"), true)
	if got, want := out.String(), "a\r\nb\r\nc\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSpliceAfterARestartOfTheRuntime(t *testing.T) {
	var out bytes.Buffer
	s := newSplice(&out, true)
	s.begin()
	s.attach([]byte("hello\r\n"))
	s.log([]byte("hello"), true)
	s.confirm(s.delivered())
	s.attach([]byte("$ ")) // held back by the old runtime, which dies with it
	s.abandon()
	s.attach([]byte("x")) // still under way when it died
	s.end()
	s.begin()
	s.log([]byte("new"), true)
	s.attach([]byte("line\r\n"))
	s.log([]byte("line"), true)
	n := s.delivered()
	s.confirm(n)
	if got, want := out.String(), "hello\r\n$ xnew\r\nline\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestSpliceIsTheStream: whatever the stream, wherever attachments begin and
// end, however the sources are interleaved, the output is the stream.
func TestSpliceIsTheStream(t *testing.T) {
	for seed := range uint64(20000) {
		if err := spliceOnce(rand.New(rand.NewPCG(seed, 2))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// spliceOnce plays a random stream to a splice in the order that a runtime
// guarantees: an attachment delivers from the place where it was added; cuts
// bring everything before them into the log.
func spliceOnce(r *rand.Rand) error {
	stream := randomStream(r)
	var out bytes.Buffer
	s := newSplice(&out, false)
	logAt, attachAt, attached := 0, 0, false
	// show brings the log up to at.
	show := func(at int) {
		if at <= logAt {
			return
		}
		part := stream[logAt:at]
		for part != "" {
			line, rest, full := strings.Cut(part, "\n")
			if full {
				line = strings.TrimSuffix(line, "\r")
			}
			if s.placed { // the real follower waits here; a test must not
				size := plainLen([]byte(line))
				if full {
					size++
				}
				if s.ahead(size) {
					return
				}
			}
			s.log([]byte(line), full)
			logAt += len(part) - len(rest)
			part = rest
		}
	}
	written := 0 // how much the container has written
	for written < len(stream) {
		written = min(len(stream), written+r.IntN(12))
		switch r.IntN(5) {
		case 0: // lines reach the log
			if i := strings.LastIndexByte(stream[:written], '\n'); i >= 0 {
				show(i + 1)
			}
		case 1: // the attachment is made, or delivers
			if !attached {
				s.begin()
				attached, attachAt = true, max(written, logAt)
				if r.IntN(2) == 0 {
					s.opened()
				}
			}
		case 2:
			if attached && attachAt < written {
				n := attachAt + r.IntN(written-attachAt+1)
				s.attach([]byte(stream[attachAt:n]))
				attachAt = n
			}
		case 3: // a cut; not between CR and LF, where containerd would not drop
			if attached && !(written > 0 && written < len(stream) && stream[written-1:written+1] == "\r\n") {
				if s.quietAttached == s.delivered() {
					// The second of two cuts comes so much later that what was under way
					// between runtime and reader has arrived.
					s.attach([]byte(stream[attachAt:written]))
					attachAt = written
				}
				n := s.delivered()
				show(written)
				s.confirm(n)
			}
		case 4:
			if attached && r.IntN(3) == 0 {
				s.end()
				attached = false
			}
		}
	}
	if attached && r.IntN(2) == 0 {
		s.attach([]byte(stream[attachAt:])) // it ends with the container
	} else {
		s.begin() // there was one more, which came too late
	}
	s.end()
	show(len(stream))
	s.finish()
	got, want := strings.ReplaceAll(out.String(), "\r", ""), strings.ReplaceAll(stream, "\r", "")
	if got != want {
		return fmt.Errorf("got  %q\nwant %q", out.String(), stream)
	}
	if strings.Contains(strings.ReplaceAll(stream, "\r\n", ""), "\r") {
		return nil // a CR of its own has no position where the sources meet
	}
	return checkCRs(out.String(), stream)
}

// checkCRs allows CRs to be missing, which the log does not have; nothing else,
// and none too many.
func checkCRs(got, want string) error {
	i := 0
	for j := 0; j < len(want); j++ {
		if i < len(got) && got[i] == want[j] {
			i++
			continue
		}
		if want[j] == '\r' {
			continue
		}
		return fmt.Errorf("at byte %d: got %q\nwant %q", j, got, want)
	}
	if i != len(got) {
		return fmt.Errorf("%d bytes too many: got %q\nwant %q", len(got)-i, got, want)
	}
	return nil
}

func randomStream(r *rand.Rand) string {
	alphabets := []string{"ab\n", "y\n", "abcdefghijklmnopqrstuvwxyz\r\n", "x\r\n", "\n", "crlf"}
	alphabet := alphabets[r.IntN(len(alphabets))]
	var b strings.Builder
	if alphabet == "crlf" {
		words := []string{"a", "b\r\n", "\r\n", "cd", "\n"}
		for range r.IntN(100) {
			b.WriteString(words[r.IntN(len(words))])
		}
		return b.String()
	}
	for range r.IntN(200) {
		b.WriteByte(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}
