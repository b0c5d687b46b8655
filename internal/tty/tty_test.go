package tty_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/porthole-project/porthole/internal/tty"
)

// openPTY gives both ends of a new pseudo-terminal.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		slave.Close()
		master.Close()
	})
	return master, slave
}

// mode reads the terminal's settings by way of its master, which belongs to
// no job and so is never refused.
func mode(t *testing.T, master *os.File) unix.Termios {
	t.Helper()
	termios, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *termios
}

func isRaw(m unix.Termios) bool {
	return m.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) == 0 && m.Oflag&unix.OPOST == 0
}

func TestIs(t *testing.T) {
	master, slave := openPTY(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, c := range map[string]struct {
		f    *os.File
		want bool
	}{
		"master": {master, true}, "slave": {slave, true}, "null": {null, false}, "closed": {closed, false}, "nil": {nil, false},
	} {
		if got := tty.Is(c.f); got != c.want {
			t.Errorf("Is(%s) = %t", name, got)
		}
	}
}

func TestRawAndBack(t *testing.T) {
	master, slave := openPTY(t)
	before := mode(t, master)
	if isRaw(before) {
		t.Fatal("a new terminal is in raw mode already")
	}
	restore, err := tty.Raw(slave)
	if err != nil {
		t.Fatal(err)
	}
	if !isRaw(mode(t, master)) {
		t.Error("not in raw mode")
	}
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			if err := restore(); err != nil {
				t.Errorf("restore: %v", err)
			}
			if after := mode(t, master); after != before {
				t.Errorf("after restore %+v, before %+v", after, before)
			}
		})
	}
	callers.Wait()

	if _, err := tty.Raw(slave); err != nil { // a later owner's raw mode
		t.Fatal(err)
	}
	if err := restore(); err != nil || !isRaw(mode(t, master)) {
		t.Errorf("a late call of restore acts again (error %v)", err)
	}
}

func TestRestoreOnPanic(t *testing.T) {
	master, slave := openPTY(t)
	before := mode(t, master)
	func() {
		defer func() { recover() }()
		restore, err := tty.Raw(slave)
		if err != nil {
			t.Error(err)
			return
		}
		defer restore()
		panic("in the middle of a session")
	}()
	if after := mode(t, master); after != before {
		t.Errorf("after the panic %+v, before %+v", after, before)
	}
}

func TestRestoreAfterHangup(t *testing.T) {
	master, slave := openPTY(t)
	restore, err := tty.Raw(slave)
	if err != nil {
		t.Fatal(err)
	}
	master.Close()
	if err := restore(); err != nil {
		t.Errorf("restore of a terminal that is gone: %v", err)
	}
}

func TestRestoreAfterClose(t *testing.T) {
	_, slave := openPTY(t)
	restore, err := tty.Raw(slave)
	if err != nil {
		t.Fatal(err)
	}
	slave.Close()
	for range 2 {
		if restore() == nil {
			t.Error("restore of a closed file is silent, though it leaves the terminal raw")
		}
	}
}

func TestRawRefusesOtherFiles(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if _, err := tty.Raw(null); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("Raw(%s): %v", null.Name(), err)
	}
	if _, err := tty.Raw(nil); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("Raw(nil): %v", err)
	}
}

const asJob = "PORTHOLE_TEST_TTY_JOB"

// TestRestoreFromBackground runs itself as a job that loses the foreground
// while its terminal is raw.
func TestRestoreFromBackground(t *testing.T) {
	if os.Getenv(asJob) != "" {
		if err := job(); err != nil {
			t.Fatal(err)
		}
		return
	}
	master, slave := openPTY(t)
	before := mode(t, master)
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRestoreFromBackground$", "-test.v")
	cmd.Env = append(os.Environ(), asJob+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Run(); err != nil {
		t.Fatalf("the job: %v\n%s", err, &out)
	}
	if !bytes.Contains(out.Bytes(), []byte("--- PASS")) {
		t.Fatalf("the job did not run:\n%s", &out)
	}
	if after := mode(t, master); after != before {
		t.Errorf("after a restore from the background %+v, before %+v", after, before)
	}
}

// job is the session leader. Another process group takes its terminal over;
// as nobody could continue a stopped leader, the kernel answers it with EIO.
func job() error {
	restore, err := tty.Raw(os.Stdin)
	if err != nil {
		return err
	}
	other := exec.Command("sleep", "60")
	other.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: true, Ctty: int(os.Stdin.Fd())}
	if err := other.Start(); err != nil {
		return err
	}
	defer func() {
		other.Process.Kill()
		other.Wait()
	}()
	if foreground, err := unix.IoctlGetInt(int(os.Stdin.Fd()), unix.TIOCGPGRP); err != nil {
		return err
	} else if foreground != other.Process.Pid {
		return fmt.Errorf("foreground group %d, want %d", foreground, other.Process.Pid)
	}
	return restore()
}
