package escape_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/porthole-project/porthole/internal/escape"
)

func TestString(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"empty":                    {"", ""},
		"ascii":                    {`nginx-7d4f_x.y/z:1@sha256 ~!"'`, `nginx-7d4f_x.y/z:1@sha256 ~!"'`},
		"backslash":                {`C:\x1b \`, `C:\x1b \`},
		"colour":                   {"\x1b[31mred", `\x1b[31mred`},
		"title":                    {"\x1b]0;owned\x07", `\x1b]0;owned\x07`},
		"newline":                  {"a\nb\r\n\tc", `a\nb\r\n\tc`},
		"nul and del":              {"\x00\x7f", `\x00\x7f`},
		"C1 as UTF-8":              {"\u0080\u009b31m\u009f", `\u0080\u009b31m\u009f`},
		"C1 as a byte":             {"\x9b31m", `\x9b31m`},
		"latin-1":                  {"caf\xe9", `caf\xe9`},
		"overlong":                 {"\xc0\x9b", `\xc0\x9b`},
		"surrogate":                {"\xed\xa0\x80", `\xed\xa0\x80`},
		"cut off":                  {"\xe2\x82", `\xe2\x82`},
		"letters":                  {"Zürich Ελλάς 日本 عربى é 👍 €", "Zürich Ελλάς 日本 عربى é 👍 €"},
		"combining":                {"e\u0301", "e\u0301"},
		"replacement character":    {"\ufffd", "\ufffd"},
		"bidi overrides":           {"a\u202a\u202b\u202c\u202d\u202eb", `a\u202a\u202b\u202c\u202d\u202eb`},
		"bidi isolates":            {"\u2066\u2067\u2068\u2069", `\u2066\u2067\u2068\u2069`},
		"bidi marks":               {"\u200e\u200f\u061c", `\u200e\u200f\u061c`},
		"zero width":               {"a\u200b\u200c\u200d\u2060\ufeff\u00ad", `a\u200b\u200c\u200d\u2060\ufeff\u00ad`},
		"separators":               {"\u2028\u2029", `\u2028\u2029`},
		"spaces":                   {"\u00a0\u2003\u3000", `\u00a0\u2003\u3000`},
		"tags":                     {"\U000e0001\U000e0041\U000e007f", `\U000e0001\U000e0041\U000e007f`},
		"variation selectors":      {"x\ufe0f\U000e0100", `x\ufe0f\U000e0100`},
		"fillers":                  {"\u115f\u1160\u3164\uffa0\u034f\u180e", `\u115f\u1160\u3164\uffa0\u034f\u180e`},
		"interlinear":              {"\ufff9\ufffa\ufffb", `\ufff9\ufffa\ufffb`},
		"private and non-existent": {"\ue000\U0010ffff\uffff", `\ue000\U0010ffff\uffff`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := escape.String(c.in); got != c.want {
				t.Errorf("String(%q) = %q, want %q", c.in, got, c.want)
			}
		})
	}
}

func TestText(t *testing.T) {
	const in, want = "rpc error:\n\tno such \u202eimage\r\n\x1b[2J", "rpc error:\n\tno such \\u202eimage\\r\n\\x1b[2J"
	if got := escape.Text(in); got != want {
		t.Errorf("Text(%q) = %q, want %q", in, got, want)
	}
}

func TestCleanTextIsNotCopied(t *testing.T) {
	for _, s := range []string{"", strings.Repeat("registry.k8s.io/pause:3.10 ", 50), "Zürich 日本"} {
		if n := testing.AllocsPerRun(100, func() { escape.String(s); escape.Text(s) }); n != 0 {
			t.Errorf("%q: %v allocations", s, n)
		}
	}
}

// TestEveryRune holds the package's promise against Unicode's own tables.
func TestEveryRune(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if r >= 0xd800 && r < 0xe000 || r > 0x3ffff && r < 0xe0000 || r > 0xe0fff && r < 0x10fff0 {
			continue // surrogates; planes where all is unassigned or private
		}
		got := escape.String(string(r))
		passes := got == string(r)
		bad := r != ' ' && unicode.In(r, unicode.C, unicode.Z, unicode.Bidi_Control, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
		if passes == (bad || !unicode.IsGraphic(r)) {
			t.Fatalf("%U is shown as %q", r, got)
		}
	}
}

func TestWriter(t *testing.T) {
	for _, c := range []struct {
		writes []string
		want   string
	}{
		{[]string{"plain\n\ttext"}, "plain\n\ttext"},
		{[]string{"\x1b", "[31m"}, `\x1b[31m`},
		{[]string{"\xe2", "\x82", "\xac\n"}, "€\n"},
		{[]string{"\xf0\x9f", "\x91\x8d"}, "👍"},
		{[]string{"a\xe2\x80", "\xaeb"}, `a\u202eb`},
		{[]string{"\xc2", "\x9b"}, `\u009b`},
		{[]string{"\xe2\x82", "x"}, `\xe2\x82x`},
		{[]string{"end\xe2\x82"}, `end\xe2\x82`},
		{[]string{"\xe2", "", "\x80\xa8"}, `\u2028`},
		{[]string{"\xff", "\x80\x80\x80\x80"}, `\xff\x80\x80\x80\x80`},
	} {
		var out bytes.Buffer
		w := escape.NewWriter(&out)
		for _, s := range c.writes {
			if n, err := io.WriteString(w, s); n != len(s) || err != nil {
				t.Errorf("%q: Write(%q) = %d, %v", c.writes, s, n, err)
			}
		}
		if err := w.Close(); err != nil || out.String() != c.want {
			t.Errorf("%q gives %q, %v; want %q", c.writes, out.String(), err, c.want)
		}
	}
}

type shortWriter struct{}

func (shortWriter) Write(p []byte) (int, error) { return len(p) - 1, nil }

func TestWriterErrors(t *testing.T) {
	broken, end := io.Pipe()
	broken.CloseWithError(io.ErrUnexpectedEOF)
	for _, c := range []struct {
		below io.Writer
		want  error
	}{
		{end, io.ErrUnexpectedEOF},
		{shortWriter{}, io.ErrShortWrite},
	} {
		w := escape.NewWriter(c.below)
		if n, err := w.Write([]byte("text\xe2")); n != 0 || !errors.Is(err, c.want) {
			t.Errorf("Write = %d, %v; want %v", n, err, c.want)
		}
		if err := w.Close(); !errors.Is(err, c.want) {
			t.Errorf("Close = %v, want the first error, %v", err, c.want)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"clean", "\x1b[31m\n", "\u202e\xe2\x82", "a\xc2\x9b\xff\U000e0041\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line, text := escape.String(s), escape.Text(s)
		for _, r := range line + strings.NewReplacer("\n", "", "\t", "").Replace(text) {
			if r < ' ' || r >= 0x7f && r < 0xa0 || unicode.In(r, unicode.Bidi_Control, unicode.Cf, unicode.Zl, unicode.Zp) {
				t.Fatalf("%U gets through in %q", r, s)
			}
		}
		if !utf8.ValidString(line) || !utf8.ValidString(text) {
			t.Fatalf("%q becomes broken UTF-8: %q, %q", s, line, text)
		}
		if again := escape.String(line); again != line {
			t.Errorf("String(%q) = %q: not idempotent", line, again)
		}
		if again := escape.Text(text); again != text {
			t.Errorf("Text(%q) = %q: not idempotent", text, again)
		}
		var out bytes.Buffer
		w := escape.NewWriter(&out)
		if _, err := io.Copy(w, iotest.OneByteReader(strings.NewReader(s))); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil || out.String() != text {
			t.Errorf("byte by byte %q becomes %q, %v; in one piece %q", s, out.String(), err, text)
		}
	})
}

func BenchmarkString(b *testing.B) {
	const s = "registry.k8s.io/kube-apiserver:v1.37.2"
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		escape.String(s)
	}
}
