package node

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/porthole-project/porthole/test/testenv"
)

func TestStreamsApartAndExact(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "streams"})
		for _, tc := range []struct{ name, script, stdout, stderr string }{
			{"apart", `echo out; echo err >&2; echo out2; echo err2 >&2`, "out\nout2\n", "err\nerr2\n"},
			{"nothing", `:`, "", ""},
			{"no final newline", `printf out; printf err >&2`, "out", "err"},
			{"only newlines", `printf '\n\n\n'`, "\n\n\n", ""},
			{"NUL", `printf 'a\0b\0'; printf '\0' >&2`, "a\x00b\x00", "\x00"},
			{"invalid UTF-8", `printf '\377\376\200x\303(\n'; printf '\355\240\200' >&2`, "\xff\xfe\x80x\xc3(\n", "\xed\xa0\x80"},
			{"escapes of a terminal", `printf '\033]0;x\007\033[31m'`, "\x1b]0;x\a\x1b[31m", ""},
			{"late", `sleep 0.3; printf late; sleep 0.3; printf later >&2`, "late", "later"},
		} {
			r := e.run(shell(p, tc.script)...)
			if r.stdout != tc.stdout || withoutWarning(r.stderr) != tc.stderr || r.code != 0 {
				e.Errorf("%s: %s; want stdout %q, stderr %q", tc.name, r, tc.stdout, tc.stderr)
			}
		}
		// Whoever waits for its input has both ends attached first.
		const text = "a\x00b\r\n\xff\xfe\r\r\n\xc3("
		r := e.command(debug(p, "-i", "--", "sh", "-c", "cat; printf 'e\\0\\377' >&2; sleep 0.3")...).reading(strings.NewReader(text)).start().wait()
		if r.stdout != text || r.stderr != "e\x00\xff" || r.code != 0 {
			e.Errorf("behind input: %s; want stdout %q", r, text)
		}
	})
}

// logWarning is what is said, even with -q, of binary output that is known from
// the runtime's log alone: a CR may be missing in it.
var logWarning = regexp.MustCompile(`(?:Warning: \d+ bytes of binary output came before [^\n]*\n)+$`)

func withoutWarning(stderr string) string { return logWarning.ReplaceAllString(stderr, "") }

// TestCRLF has carriage returns, which the runtime's log drops at the end of a
// line. Those that an attachment saw are exact; a quick command's may be known
// from the log alone.
func TestCRLF(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "crlf"})
		const text = "a\r\nb\rc\r\r\n\r\nlast\r"
		r := e.run(shell(p, `printf 'a\r\nb\rc\r\r\n\r\nlast\r'`)...)
		if plain := strings.NewReplacer("\r", ""); plain.Replace(r.stdout) != plain.Replace(text) {
			e.Errorf("quick: %s; want %q but for CRs", r, text)
		}
		if r := e.command(debug(p, "-i", "--", "cat")...).reading(strings.NewReader(text)).start().wait(); r.stdout != text {
			e.Errorf("cat: %s; want %q", r, text)
		}
		if r := e.run(shell(p, `sleep 0.7; printf 'a\r\nb\rc\r\r\n\r\nlast\r'; sleep 0.3`)...); r.stdout != text {
			e.Errorf("slow: %s; want %q", r, text)
		}
	})
}

// TestEchoSoak runs the shortest command there is: its output is over before
// anybody can attach.
func TestEchoSoak(t *testing.T) {
	n := count(t, 50, 1000)
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "echo"})
		var wg sync.WaitGroup
		for worker := range 2 {
			wg.Go(func() {
				for i := worker; i < n; i += 2 {
					word := fmt.Sprintf("word-%d", i)
					r, err := e.command(debug(p, "--", "echo", word)...).start().finish()
					if err != nil || r.stdout != word+"\n" || r.stderr != "" || r.code != 0 {
						e.Errorf("run %d: %s, %v", i, r, err)
					}
				}
			})
		}
		wg.Wait()
	})
}

// TestEchoPipedSoak is kubectl's weak spot: a quick command with piped input.
func TestEchoPipedSoak(t *testing.T) {
	n := count(t, 20, 300)
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "piped"})
		for i := range n {
			text := fmt.Sprintf("line %d\nno newline", i)
			r := e.command(debug(p, "-i", "--", "cat")...).reading(strings.NewReader(text)).start().wait()
			if r.stdout != text || r.stderr != "" || r.code != 0 {
				e.Errorf("run %d: %s; want %q", i, r, text)
			}
		}
	})
}

// TestHundredMegabytes sends seeded bytes through the container and back.
func TestHundredMegabytes(t *testing.T) {
	const size = 100 << 20
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "bulk"})
		c := e.command(debug(p, "-i", "--", "cat")...)
		sent, got := sha256.New(), sha256.New()
		c.cmd.Stdin = io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{100}), size), sent)
		counted := &counter{w: got}
		c.cmd.Stdout = counted
		began := time.Now()
		if r := c.start().wait(); r.code != 0 || r.stderr != "" {
			e.Fatal(r)
		}
		e.Logf("100 MB there and back: %s", time.Since(began).Round(time.Millisecond))
		if counted.n != size || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
			e.Errorf("%d bytes of %d came back, equal: %t", counted.n, size, bytes.Equal(sent.Sum(nil), got.Sum(nil)))
		}
	})
}

// counter counts what it passes on.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.w.Write(p)
}

func TestPipedInputEnds(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "eof"})
		for input, want := range map[string]string{"": "0\n", "x": "1\n", strings.Repeat("0123456789", 20000): "200000\n"} {
			r := e.command(debug(p, "-i", "--", "wc", "-c")...).reading(strings.NewReader(input)).start().wait()
			if r.stdout != want || r.code != 0 {
				e.Errorf("%d bytes: %s; want %q", len(input), r, want)
			}
		}
		// Without -i nothing is passed on, and the command's input is at its end.
		r := e.command(debug(p, "--", "wc", "-c")...).reading(strings.NewReader("not passed on")).start().wait()
		if r.stdout != "0\n" || r.code != 0 {
			e.Errorf("without -i: %s; want 0", r)
		}
	})
}

// TestInputNobodyReads ends with its command, not with its input.
func TestInputNobodyReads(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "unread"})
		r, w, err := os.Pipe()
		if err != nil {
			e.Fatal(err)
		}
		defer w.Close()
		c := e.command(debug(p, "-i", "--", "sh", "-c", "echo done; exit 3")...).reading(r).start()
		_ = r.Close()
		if got := c.wait(); got.stdout != "done\n" || got.code != 3 {
			e.Errorf("input stays open: %s", got)
		}
		zero, err := os.Open("/dev/zero")
		if err != nil {
			e.Fatal(err)
		}
		defer zero.Close()
		if got := e.command(debug(p, "-i", "--", "head", "-c", "3")...).reading(zero).start().wait(); got.stdout != "\x00\x00\x00" || got.code != 0 {
			e.Errorf("input without end: %s", got)
		}
	})
}

func TestLargeOutputWithoutInput(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "large"})
		var want strings.Builder
		for i := range 200000 {
			want.WriteString(strconv.Itoa(i+1) + "\n")
		}
		if r := e.run(shell(p, "seq 1 200000"+e.pause())...); r.stdout != want.String() || r.code != 0 {
			e.Errorf("seq: exit code %d, stderr %q: %s", r.code, r.stderr, firstDifference(r.stdout, want.String()))
		}
		// One line that the log has in pieces.
		long := strings.Repeat("x", 300000)
		if r := e.run(shell(p, `head -c 300000 /dev/zero | tr '\0' x`+e.pause())...); r.stdout != long || r.code != 0 {
			e.Errorf("long line: exit code %d, stderr %q: %s", r.code, r.stderr, firstDifference(r.stdout, long))
		}
	})
}

// pause goes behind a command with much output. containerd 1.6 drops what a
// command that ends has left in its pipes (up to 128 KiB; its own log lacks it,
// too, whoever is attached), so there a command stays until all is read.
func (e *env) pause() string {
	if e.node.Version() == testenv.V16 {
		return "; sleep 1"
	}
	return ""
}

func firstDifference(got, want string) string {
	n := min(len(got), len(want))
	for i := range n {
		if got[i] != want[i] {
			return fmt.Sprintf("first difference at %d: %q, want %q", i, got[i:min(i+40, len(got))], want[i:min(i+40, len(want))])
		}
	}
	return fmt.Sprintf("%d bytes, want %d, equal until %d", len(got), len(want), n)
}

func TestQuickLinesOnBothStreams(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "quick"})
		r := e.run(shell(p, `i=0; while [ $i -lt 5000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done`+e.pause())...)
		var out, err strings.Builder
		for i := range 5000 {
			fmt.Fprintf(&out, "out %d\n", i)
			fmt.Fprintf(&err, "err %d\n", i)
		}
		if r.code != 0 || r.stdout != out.String() || r.stderr != err.String() {
			e.Errorf("exit code %d; stdout: %s; stderr: %s", r.code, firstDifference(r.stdout, out.String()), firstDifference(r.stderr, err.String()))
		}
	})
}

// TestOutputClosedEarly is `porthole debug … | head -n 1`.
func TestOutputClosedEarly(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "head"})
		r, w, err := os.Pipe()
		if err != nil {
			e.Fatal(err)
		}
		defer r.Close()
		c := e.command(debug(p, "--", "yes", "line")...)
		c.cmd.Stdout = w
		c.start()
		_ = w.Close()
		line, err := bufio.NewReader(r).ReadString('\n')
		if line != "line\n" || err != nil {
			e.Errorf("first line %q, %v", line, err)
		}
		_ = r.Close()
		if got := c.ended(141); got.stderr != "" {
			e.Errorf("stderr %q, want nothing", got.stderr)
		}
	})
}

// TestSlowReader stalls for longer than any timer of ours before it reads on.
// On containerd 1.6 the tail may be missing (see pause), and nothing else.
func TestSlowReader(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "slow"})
		r, w, err := os.Pipe()
		if err != nil {
			e.Fatal(err)
		}
		defer r.Close()
		c := e.command(debug(p, "--", "seq", "1", "300000")...)
		c.cmd.Stdout = w
		c.start()
		_ = w.Close()
		var got bytes.Buffer
		for range 3 {
			time.Sleep(time.Second)
			if _, err := io.CopyN(&got, r, 1000); err != nil {
				e.Fatal(err)
			}
		}
		if _, err := io.Copy(&got, r); err != nil {
			e.Fatal(err)
		}
		var want strings.Builder
		for i := range 300000 {
			want.WriteString(strconv.Itoa(i+1) + "\n")
		}
		missing := 0
		if e.node.Version() == testenv.V16 {
			missing = want.Len() - got.Len()
		}
		if got.String() != want.String()[:want.Len()-min(max(missing, 0), 128<<10)] {
			e.Errorf("%s", firstDifference(got.String(), want.String()))
		}
		c.ended(0)
	})
}
