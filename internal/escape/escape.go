// Package escape makes text written by others safe to show on a terminal: pod
// and container names, image references, labels, errors of a runtime. Whoever
// can create a pod chooses such text, and a terminal obeys what is in it.
//
// What would not be seen as itself is shown as an escape in the notation of Go
// (\x1b, \u202e): control characters, C1 included; marks that reorder text
// (Trojan Source, CVE-2021-42574); characters without width or that look like
// a space; line and paragraph separators; private and unassigned characters;
// bytes that are no UTF-8. Everything else passes unchanged.
//
// A backslash is unchanged too, so the text \x1b and the byte 0x1b look the
// same. That is harmless on a terminal, keeps paths readable and makes every
// function idempotent; do not parse the result.
//
// Not here: quoting for a shell or for JSON, and the bytes of a session, which
// are the user's own and go to the terminal as they are.
package escape

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// String returns s fit for one line: newlines and tabs are escaped too. A
// clean s is returned as is, without allocation.
func String(s string) string { return escape(s, false) }

// Text is String for text of several lines: it keeps newlines and tabs. A
// carriage return is escaped, for it would let a line overwrite itself.
func Text(s string) string { return escape(s, true) }

func escape(s string, lines bool) string {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if !safe(r, size, lines) {
			buf := make([]byte, 0, len(s)+16)
			return string(appendEscaped(append(buf, s[:i]...), s[i:], lines))
		}
		i += size
	}
	return s
}

func appendEscaped[T string | []byte](buf []byte, s T, lines bool) []byte {
	for i := 0; i < len(s); {
		r, size := decode(s[i:])
		if safe(r, size, lines) {
			buf = append(buf, s[i:i+size]...)
		} else {
			buf = appendRune(buf, r, size, s[i])
		}
		i += size
	}
	return buf
}

func decode[T string | []byte](s T) (rune, int) {
	if s[0] < utf8.RuneSelf {
		return rune(s[0]), 1
	}
	return utf8.DecodeRuneInString(string(s[:min(len(s), utf8.UTFMax)]))
}

// safe tells whether r, decoded from size bytes, shows as itself.
func safe(r rune, size int, lines bool) bool {
	switch {
	case r < utf8.RuneSelf:
		return ' ' <= r && r < 0x7f || lines && (r == '\n' || r == '\t')
	case r == utf8.RuneError && size == 1:
		return false
	}
	// IsPrint has none of the categories C (controls, formats such as the bidi
	// marks and the tags, surrogates, private, unassigned) and Z (separators).
	// The tables are what Unicode calls ignorable outside of these: fillers,
	// joiners and variation selectors, which show as nothing at all.
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// appendRune appends the escape of r, which was read from size bytes, the
// first of them b.
func appendRune(buf []byte, r rune, size int, b byte) []byte {
	switch {
	case r == '\n':
		return append(buf, `\n`...)
	case r == '\r':
		return append(buf, `\r`...)
	case r == '\t':
		return append(buf, `\t`...)
	case size == 1:
		return fmt.Appendf(buf, `\x%02x`, b)
	case r > 0xffff:
		return fmt.Appendf(buf, `\U%08x`, r)
	}
	return fmt.Appendf(buf, `\u%04x`, r)
}
