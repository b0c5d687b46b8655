package node

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// plain checks messages for the user: text without control bytes, and without
// empty words of ours. What a runtime says is quoted as it is.
func (e *env) plain(text string) {
	e.Helper()
	if !utf8.ValidString(text) {
		e.Errorf("not UTF-8: %s", brief(text))
	}
	for _, r := range text {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			e.Errorf("%U in a message: %s", r, brief(text))
			return
		}
	}
	for _, word := range []string{"porthole: failed to", "rpc error", "panic", "goroutine", "%!"} {
		if strings.Contains(text, word) {
			e.Errorf("%q in a message: %s", word, brief(text))
		}
	}
}

// refused checks a run that did nothing but give one message with these words.
func (e *env) refused(r result, what string, words ...string) {
	e.Helper()
	if r.code != 125 || r.stdout != "" {
		e.Errorf("%s: %s; want exit code 125 and no output", what, r)
	}
	if n := strings.Count(r.stderr, "porthole: "); n != 1 || !strings.HasPrefix(lastMessage(r.stderr), "porthole: ") {
		e.Errorf("%s: %d messages: %s", what, n, brief(r.stderr))
	}
	for _, word := range words {
		if !strings.Contains(r.stderr, word) {
			e.Errorf("%s: no %q in %s", what, word, brief(r.stderr))
		}
	}
	e.plain(r.stderr)
	if ours := e.ours(); len(ours) > 0 {
		e.Errorf("%s: there are %d debug containers", what, len(ours))
	}
	if files := e.journal(); len(files) > 0 {
		e.Errorf("%s: journal has %q", what, files)
	}
}

// lastMessage is stderr from the last line on that begins with our name.
func lastMessage(stderr string) string {
	if i := strings.LastIndex(stderr, "porthole: "); i > 0 && stderr[i-1] == '\n' {
		return stderr[i:]
	}
	return stderr
}
