package node

import (
	"os"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// terminal is a run of the binary in a terminal of its own: its controlling
// terminal, and all three of its streams.
type terminal struct {
	*command
	master, slave *os.File
	before        unix.Termios
	drained       chan struct{} // closed when the screen shows all there is
}

// terminal prepares a run in a terminal of this size. What it shows is stdout.
func (e *env) terminal(rows, cols uint16, args ...string) *terminal {
	e.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _, _ = master.Close(), slave.Close() })
	// pty leaves it blocking, and then Close would wait for the reader below.
	if err := unix.SetNonblock(int(master.Fd()), true); err != nil {
		e.Fatal(err)
	}
	t := &terminal{command: e.command(args...), master: master, slave: slave, drained: make(chan struct{})}
	t.size(rows, cols)
	t.before = t.mode()
	t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = slave, slave, slave
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	t.start()
	go func() {
		defer close(t.drained)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			_, _ = t.stdout.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	return t
}

// size resizes the terminal; the kernel sends SIGWINCH.
func (t *terminal) size(rows, cols uint16) {
	t.env.Helper()
	conn, err := t.master.SyscallConn()
	if err != nil {
		t.env.Fatal(err)
	}
	if inner := conn.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	}); inner != nil || err != nil {
		t.env.Fatal(inner, err)
	}
}

// mode is how the terminal is set.
func (t *terminal) mode() unix.Termios {
	t.env.Helper()
	mode, err := unix.IoctlGetTermios(int(t.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.env.Fatal(err)
	}
	return *mode
}

// raw reports whether keys go to the program unprocessed.
func (t *terminal) raw() bool {
	return t.mode().Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) == 0
}

// keys types.
func (t *terminal) keys(text string) {
	t.env.Helper()
	if _, err := t.master.WriteString(text); err != nil {
		t.env.Fatal(err)
	}
}

// shows waits for a text on the screen.
func (t *terminal) shows(text string) {
	t.env.Helper()
	t.await(t.stdout, text)
}

// closed checks the exit code and that the terminal is as it was.
func (t *terminal) closed(code int) result {
	t.env.Helper()
	r := t.ended(code)
	if now := t.mode(); now != t.before {
		t.env.Errorf("%v: the terminal was %+v and is left %+v", t.cmd.Args[1:], t.before, now)
	}
	_ = t.slave.Close() // the last one: the reader gets what is left, and an error
	<-t.drained
	r.stdout = t.stdout.String()
	return r
}
