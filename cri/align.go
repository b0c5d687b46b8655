package cri

import (
	"bytes"
	"io"
)

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

// plainIndex is how many bytes of b hold its first n that are not CRs.
func plainIndex(b []byte, n int64) int {
	i := 0
	for ; n > 0 && i < len(b); i++ {
		if b[i] != '\r' {
			n--
		}
	}
	return i
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
