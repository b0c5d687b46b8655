package cri

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// collector is a sink that keeps what it gets.
type collector struct {
	records  []record
	finishes []string
	lost     int
}

func (c *collector) record(r record) {
	r.content = slices.Clone(r.content) // valid only during the call
	c.records = append(c.records, r)
}
func (c *collector) finished(name string) { c.finishes = append(c.finishes, name) }
func (c *collector) abandoned()           { c.lost++ }

// text is what a container said, as far as records can tell.
func (c *collector) text() string {
	var b strings.Builder
	for _, r := range c.records {
		b.Write(r.content)
		if r.full {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func (r record) String() string {
	return string(renderRecord(r))
}

// renderRecord is what a runtime writes.
func renderRecord(r record) []byte {
	stream, tag := "stdout", "P"
	if r.stderr {
		stream = "stderr"
	}
	if r.full {
		tag = "F"
	}
	return fmt.Appendf(nil, "2026-01-02T15:04:05.999999999Z %s %s %s\n", stream, tag, r.content)
}

func TestParseRecord(t *testing.T) {
	const stamp = "2026-01-02T15:04:05.999999999Z "
	for line, want := range map[string]record{
		stamp + "stdout F text":                           {full: true, content: []byte("text")},
		stamp + "stdout P text":                           {content: []byte("text")},
		stamp + "stderr F ":                               {stderr: true, full: true, content: []byte{}},
		stamp + "stdout F two  words ":                    {full: true, content: []byte("two  words ")},
		stamp + "stdout F:x:y text":                       {full: true, content: []byte("text")},
		stamp + "stdout P:x text":                         {content: []byte("text")},
		stamp + "stdout F \x00\xff\r":                     {full: true, content: []byte("\x00\xff\r")},
		"2026-01-02T15:04:05Z stdout F text":              {full: true, content: []byte("text")},
		"2026-01-02T15:04:05.1+02:00 stdout F text":       {full: true, content: []byte("text")},
		"2026-01-02T15:04:05.123456789-05:30 stderr P  x": {stderr: true, content: []byte(" x")},
	} {
		got, ok := parseRecord([]byte(line))
		if !ok || got.stderr != want.stderr || got.full != want.full || !bytes.Equal(got.content, want.content) {
			t.Errorf("%q: %+v, %v; want %+v", line, got, ok, want)
		}
	}
	for _, line := range []string{
		"", " ", "   ", "text", stamp, stamp + "stdout", stamp + "stdout F", stamp + "stdin F text", stamp + "stdout X text",
		stamp + "stdout  F text", "now stdout F text", `{"log":"text\n","stream":"stdout","time":"2026-01-02T15:04:05Z"}`,
		"2026/01/02 15:04:05 stdout F text", "F stdout F text", stamp + "stdout f text", stamp + "stdout FP text",
	} {
		if got, ok := parseRecord([]byte(line)); ok {
			t.Errorf("%q was taken for an entry: %+v", line, got)
		}
	}
}

// FuzzParseRecord: no line of a log, which whoever has the node could have
// written, makes the parser panic; what is an entry is one again when rendered.
func FuzzParseRecord(f *testing.F) {
	for _, seed := range []string{"2026-01-02T15:04:05Z stdout F text", "2026-01-02T15:04:05Z stderr P:a ", "stdout F", "    ", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, ok := parseRecord(line)
		if !ok || bytes.ContainsRune(r.content, '\n') {
			return
		}
		if !bytes.HasSuffix(line, r.content) {
			t.Fatalf("content %q is not the end of %q", r.content, line)
		}
		again, ok := parseRecord(bytes.TrimSuffix(renderRecord(r), []byte{'\n'}))
		if !ok || again.full != r.full || again.stderr != r.stderr || !bytes.Equal(again.content, r.content) {
			t.Fatalf("%q became %q", r, again)
		}
	})
}

func randomRecords(r *rand.Rand, n int) []record {
	out := make([]record, 0, n)
	for range n {
		content := make([]byte, r.IntN(40))
		if r.IntN(50) == 0 {
			content = make([]byte, 100<<10)
		}
		for i := range content {
			if content[i] = byte(r.IntN(256)); content[i] == '\n' {
				content[i] = ' '
			}
		}
		out = append(out, record{stderr: r.IntN(2) == 0, full: r.IntN(3) > 0, content: content})
	}
	return out
}

// TestLineBuffer: however the file comes in pieces, the entries are whole.
func TestLineBuffer(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 3))
		records := randomRecords(r, 100)
		var log []byte
		for _, entry := range records {
			log = append(log, renderRecord(entry)...)
		}
		var got collector
		var lines lineBuffer
		for rest := log; len(rest) > 0; {
			n := min(len(rest), 1+r.IntN(200<<10))
			var piece io.Reader = bytes.NewReader(rest[:n])
			if r.IntN(4) == 0 {
				piece = iotest.DataErrReader(piece)
			}
			if err := lines.drain(piece, &got); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if !slices.EqualFunc(got.records, records, func(a, b record) bool {
			return a.full == b.full && a.stderr == b.stderr && bytes.Equal(a.content, b.content)
		}) {
			t.Fatalf("seed %d: %d entries, want %d, or others", seed, len(got.records), len(records))
		}
	}
}

func TestLineBufferSkipsWhatIsNoEntry(t *testing.T) {
	var got collector
	var lines lineBuffer
	good := record{full: true, content: []byte("good")}.String()
	if err := lines.drain(strings.NewReader("\n\ntorn\n"+good+strings.Repeat("x", 1<<20)+"\n"+good+"2026-01-02T15:04:05Z stdout F unfinis"), &got); err != nil {
		t.Fatal(err)
	}
	if got.text() != "good\ngood\n" {
		t.Errorf("%q", got.text())
	}
	// The unfinished one is one as soon as its end is there.
	if err := lines.drain(strings.NewReader("hed\n"), &got); err != nil || got.text() != "good\ngood\nunfinished\n" {
		t.Errorf("%q, %v", got.text(), err)
	}
}

func TestLineBufferHasABound(t *testing.T) {
	var got collector
	var lines lineBuffer
	err := lines.drain(strings.NewReader(strings.Repeat("x", maxRecord+1)), &got)
	if err == nil || cap(lines.buf) > 4*maxRecord {
		t.Errorf("%v with a buffer of %d", err, cap(lines.buf))
	}
	broken := iotest.ErrReader(io.ErrUnexpectedEOF)
	if err := (&lineBuffer{}).drain(broken, &got); err == nil {
		t.Error("an error of the file was lost")
	}
}
