package runtime

import (
	"regexp"
	"strings"
	"testing"
)

func vars(name string) (string, bool) {
	v, ok := map[string]string{"A": "1", "B": "two words", "DOLLAR": "$(A)", "": "empty", "EMPTY": "", "a b": "spaced", "(x": "odd"}[name]
	return v, ok
}

// The cases of the API server's own table (third_party/forked/golang/expansion).
func TestExpand(t *testing.T) {
	for text, want := range map[string]string{
		"":               "",
		"plain":          "plain",
		"$(A)":           "1",
		"x$(A)y$(B)z":    "x1ytwo wordsz",
		"$(UNKNOWN)":     "$(UNKNOWN)",
		"$(DOLLAR)":      "$(A)", // what is put in is not looked at again
		"$(EMPTY)":       "",
		"$()":            "empty",
		"$(a b)":         "spaced",
		"$$":             "$",
		"$$(A)":          "$(A)",
		"$$$(A)":         "$1",
		"$$$$(A)":        "$$(A)",
		"$$UNKNOWN":      "$UNKNOWN",
		"$A":             "$A",
		"$":              "$",
		"a$":             "a$",
		"$$$":            "$$",
		"$(A":            "$(A",
		"$(A$(B)":        "$(A$(B)", // the first closing one ends the name A$(B
		"$(":             "$(",
		"$($(A)":         "$($(A)",
		"$((x)":          "odd",
		"$(A))":          "1)",
		"$\n$(A)":        "$\n1",
		"$(A)$(A)":       "11",
		"ünïcode $(A) ☃": "ünïcode 1 ☃",
	} {
		if got := Expand(text, vars); got != want {
			t.Errorf("Expand(%q) = %q, want %q", text, got, want)
		}
	}
}

var token = regexp.MustCompile(`(?s)\$(\$|\([^)]*\)|\(|[^$(])`)

// FuzzExpand compares with the rules written as one regular expression, and
// holds that doubling every dollar sign keeps a text as it is.
func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"$(A)", "$$(A)", "$(", "$", "$(A$$)", "$é(A)", "\xff$\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want := token.ReplaceAllStringFunc(text, func(tok string) string {
			name, isRef := strings.CutSuffix(strings.TrimPrefix(tok, "$("), ")")
			switch {
			case tok == "$$":
				return "$"
			case isRef && strings.HasPrefix(tok, "$("):
				if v, ok := vars(name); ok {
					return v
				}
			}
			return tok
		})
		if got := Expand(text, vars); got != want {
			t.Errorf("Expand(%q) = %q, want %q", text, got, want)
		}
		if got := Expand(strings.ReplaceAll(text, "$", "$$"), vars); got != text {
			t.Errorf("%q escaped expands to %q", text, got)
		}
	})
}
