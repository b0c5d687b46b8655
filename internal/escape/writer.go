package escape

import (
	"io"
	"unicode/utf8"
)

// Writer does to a stream of messages what Text does to a string. A character
// may be split over several calls of Write; its first bytes wait for the rest,
// so end with Flush or Close. A Writer is not safe for concurrent use.
type Writer struct {
	w       io.Writer
	pending []byte // the beginning of a character, fewer than utf8.UTFMax bytes
	err     error
}

var _ io.WriteCloser = (*Writer)(nil)

// NewWriter returns a Writer on w, which remains the caller's to close.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes p, escaped, in one call to the writer below. As one byte in may
// be four out, a failure there is reported as 0 bytes written; it is final.
func (w *Writer) Write(p []byte) (int, error) {
	data := append(w.pending, p...)
	whole := len(data) - unfinished(data)
	out := appendEscaped(make([]byte, 0, len(data)+16), data[:whole], true)
	w.pending = append([]byte(nil), data[whole:]...)
	if err := w.write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes what waits for the rest of a character, escaped as the broken
// UTF-8 that it is. It returns the first error of the writer below.
func (w *Writer) Flush() error {
	out := appendEscaped(nil, w.pending, true)
	w.pending = nil
	return w.write(out)
}

// Close is Flush. It does not close the writer below.
func (w *Writer) Close() error { return w.Flush() }

func (w *Writer) write(p []byte) error {
	if w.err != nil || len(p) == 0 {
		return w.err
	}
	n, err := w.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	w.err = err
	return err
}

// unfinished counts the bytes at the end of p that may begin a character.
func unfinished(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if tail := p[len(p)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
