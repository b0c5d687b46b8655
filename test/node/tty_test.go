package node

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/porthole-project/porthole/test/testenv"
)

// prompt is how busybox's shell asks root.
const prompt = "/ # "

func TestShellInATerminal(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "shell"})
		tty := e.terminal(31, 117, debug(p, "-it", "--", "sh")...)
		tty.shows(prompt)
		if !tty.raw() {
			e.Error("the terminal is not in raw mode")
		}
		tty.keys("stty size\r")
		tty.shows("31 117\r\n")
		tty.keys("echo $((6*7))\r")
		tty.shows("\r\n42\r\n")
		tty.keys("tty; ps -o comm | head -n 2\r") // the target is process 1
		tty.shows("/dev/pts/0\r\nCOMMAND\r\napp\r\n")
		tty.keys("printf 'a\\nb\\r\\nc\\n'\r")
		tty.shows("\r\na\r\nb\r\r\nc\r\n") // ONLCR, and the CR of the command itself
		tty.keys("exit 7\r")
		r := tty.closed(7)
		if n := strings.Count(r.stdout, "\r\n42\r\n"); n != 1 {
			e.Errorf("42 is shown %d times: %s", n, brief(r.stdout))
		}
	})
}

func TestResize(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "resize"})
		tty := e.terminal(24, 80, debug(p, "-it", "--", "sh", "-c", "trap 'stty size' WINCH; stty size; echo ready; while :; do sleep 0.05; done")...)
		tty.shows("ready")
		tty.size(50, 132)
		tty.shows("50 132\r\n")
		tty.size(25, 81)
		tty.shows("25 81\r\n")
		tty.signal(syscall.SIGTERM)
		tty.closed(143)
	})
}

// TestTerminalIsRestored ends a session in a terminal in every way there is.
func TestTerminalIsRestored(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "restore"})
		for _, tc := range []struct {
			name string
			end  func(*terminal)
			code int
		}{
			{"exit", func(t *terminal) { t.keys("exit\r") }, 0},
			{"ctrl-d", func(t *terminal) { t.keys("\x04") }, 0},
			{"SIGTERM", func(t *terminal) { t.signal(syscall.SIGTERM) }, 143},
			{"SIGHUP", func(t *terminal) { t.signal(syscall.SIGHUP) }, 129},
			{"SIGINT", func(t *terminal) { t.signal(syscall.SIGINT) }, 130},
			{"killed command", func(t *terminal) { t.keys("kill -9 $$\r") }, 137},
		} {
			tty := e.terminal(24, 80, debug(p, "-it", "--", "sh")...)
			tty.shows(prompt)
			if !tty.raw() {
				e.Errorf("%s: the terminal is not in raw mode", tc.name)
			}
			tc.end(tty)
			tty.closed(tc.code)
		}
		// Porthole's own failures come before raw mode, or leave none behind.
		tty := e.terminal(24, 80, debug(p, "-it", "--", "no-such-command")...)
		if r := tty.closed(127); !strings.Contains(r.stdout, "command not found") {
			e.Errorf("no command: %s", r)
		}
	})
}

// TestTerminalGoesAway closes the window: the kernel hangs up.
func TestTerminalGoesAway(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "hangup"})
		tty := e.terminal(24, 80, debug(p, "-it", "--", "sh")...)
		tty.shows(prompt)
		began := time.Now()
		_ = tty.master.Close()
		tty.ended(129)
		if took := time.Since(began); took > 5*time.Second {
			e.Errorf("clean-up took %s", took)
		}
	})
}

// TestControlKeys has keys that belong to the command, not to Porthole.
func TestControlKeys(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "keys"})
		tty := e.terminal(24, 80, debug(p, "-it", "--", "sh")...)
		tty.shows(prompt)
		tty.keys("sleep 100\r")
		tty.shows("sleep 100\r\n")
		e.eventually("sleep runs", func() bool { return e.runs(p, "sleep") })
		tty.keys("\x03")
		tty.shows("^C\r\n" + prompt)
		tty.keys("echo back=$?\r")
		tty.shows("back=130")
		tty.keys("exit 9\r")
		tty.closed(9)
	})
}

// TestQuickCommandInATerminal loses nothing though it ends at once.
func TestQuickCommandInATerminal(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "quicktty"})
		for range 5 {
			tty := e.terminal(24, 80, debug(p, "-it", "--", "sh", "-c", "echo one; printf 'two\\nthree'")...)
			tty.shows("three")
			if r := tty.closed(0); r.stdout != "one\r\ntwo\r\nthree" {
				e.Errorf("%s; want CRLF at each line's end", r)
			}
		}
	})
}

// TestPastedInput types more than any buffer on the way holds.
func TestPastedInput(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "paste"})
		tty := e.terminal(24, 80, debug(p, "-it", "--", "sh", "-c", "stty -echo; echo ready; wc -l")...)
		tty.shows("ready")
		line := strings.Repeat("x", 78) + "\r"
		for range 200 {
			tty.keys(line)
		}
		tty.keys("\x04")
		tty.shows("200\r\n")
		tty.closed(0)
	})
}

// TestNoTerminal asks for one where there is none: kubectl's words, and on.
func TestNoTerminal(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "notty"})
		r := e.command(debug(p, "-it", "--", "sh", "-c", "cat; tty; exit 5")...).reading(strings.NewReader("in\n")).start().wait()
		if r.stdout != "in\nnot a tty\n" || r.code != 5 {
			e.Errorf("%s; want the input and exit code 5", r)
		}
		if want := "Unable to use a TTY - input is not a terminal or the right kind of file\n"; r.stderr != want {
			e.Errorf("stderr %q, want %q", r.stderr, want)
		}
		e.refused(e.run(debug(p, "-t", "--", "sh")...), "-t alone", "-t needs -i")
	})
}
