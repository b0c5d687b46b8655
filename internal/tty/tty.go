// Package tty is the user's own terminal: whether there is one, its raw mode
// and its size.
//
// Raw mode outlives the process that set it, so its restore function must run
// on every way out. Defer it: then a panic and a return run it, and so do
// SIGINT, SIGTERM and SIGHUP where, as in main, they cancel a context that the
// function in between waits for. os.Exit and log.Fatal run no deferred call:
// they must not be reached before main has its result.
//
// Not here: the terminal inside the debug container, which the runtime owns;
// the bytes that pass (package escape cleans those of messages); detach keys.
package tty

import (
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Is reports whether f is a terminal. A closed or nil f is none.
func Is(f *os.File) bool {
	return control(f, func(fd int) error {
		if !term.IsTerminal(fd) {
			return unix.ENOTTY
		}
		return nil
	}) == nil
}

// Raw puts the terminal f into raw mode: every byte typed is passed on at
// once, no key makes a signal, and a newline printed does not return the
// carriage (write "\r\n"). A process in the background is stopped by the
// kernel (SIGTTOU) until it is brought to the foreground.
//
// restore gives the terminal back the mode it had. It may be called any number
// of times and from several goroutines; only the first call acts, and every
// call returns when that is done and with its result. It works from the
// background, where a job that was suspended or disowned may find itself. That
// the terminal is gone (hangup) is no error; that f was closed before is.
func Raw(f *os.File) (restore func() error, err error) {
	var state *term.State
	err = control(f, func(fd int) (err error) {
		state, err = term.MakeRaw(fd)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("terminal %s: set raw mode: %w", nameOf(f), err)
	}
	return sync.OnceValue(func() error {
		err := control(f, func(fd int) error {
			return fromBackground(func() error { return term.Restore(fd, state) })
		})
		switch {
		case err == nil, errors.Is(err, unix.EIO), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
			return nil
		}
		return fmt.Errorf("terminal %s: leave raw mode: %w; type reset and press enter", nameOf(f), err)
	}), nil
}

// fromBackground runs a change of the terminal that the kernel would answer
// with SIGTTOU, which stops the process, were it not in the foreground. A
// thread that blocks the signal is let through (POSIX tcsetattr, Linux
// tty_check_change); to ignore it would be visible to the whole process.
func fromBackground(change func() error) error {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	var block, before unix.Sigset_t
	block.Val[0] = 1 << (unix.SIGTTOU - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &block, &before); err != nil {
		return err
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	return change()
}

// control calls do with f's descriptor. Unlike f.Fd it leaves the descriptor
// non-blocking if it was, so that a Close still ends a Read.
func control(f *os.File, do func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// nameOf names f in an error; f may be nil.
func nameOf(f *os.File) string {
	if f == nil {
		return "(none)"
	}
	return f.Name()
}
