package nsjoin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// childEnv makes the test binary play a child instead of running tests.
const childEnv = "PORTHOLE_NSJOIN_TEST_CHILD"

func TestMain(m *testing.M) {
	mode, arg, _ := strings.Cut(os.Getenv(childEnv), "=")
	switch mode {
	case "":
		os.Exit(m.Run())
	case "wait": // until stdin ends
		fmt.Println(selfLine())
	case "headless": // like wait, with the main thread gone
		goruntime.LockOSThread()
		onMain := syscall.Getpid() == syscall.Gettid()
		go func() {
			fmt.Println("ready", onMain)
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
		if onMain {
			_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
		}
	case "peek": // at the namespaces of another process
		fmt.Println(peekLine(arg))
	case "reuse":
		fmt.Println(reuseLine())
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func selfLine() string {
	id, err := Self()
	if err != nil {
		return "error: " + err.Error()
	}
	return id.String()
}

func peekLine(arg string) string {
	pid, err := strconv.Atoi(arg)
	if err != nil {
		return err.Error()
	}
	p, err := Pin(pid)
	if err != nil {
		return "pin: " + err.Error()
	}
	defer p.Close()
	_, err = p.Namespaces()
	return fmt.Sprint(err)
}

// child is a running test binary in one of the modes above.
type child struct {
	*exec.Cmd
	stdin io.Closer
	// line is the first thing it said.
	line string
}

// spawn starts a child and waits for its first line. The caller ends it.
func spawn(mode string, attr *syscall.SysProcAttr) (*child, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+mode)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = attr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	c := &child{Cmd: cmd, stdin: stdin, line: strings.TrimSuffix(line, "\n")}
	if err != nil {
		c.end()
		return nil, fmt.Errorf("child said %q: %w", line, err)
	}
	return c, nil
}

// end kills the child and reaps it.
func (c *child) end() {
	_ = c.stdin.Close()
	_ = c.Process.Kill()
	_ = c.Wait()
}

// startChild is spawn for the length of a test. Where the machine does not
// allow the namespaces asked for, the test is skipped.
func startChild(t *testing.T, mode string, flags uintptr) *child {
	t.Helper()
	attr := &syscall.SysProcAttr{Cloneflags: flags}
	if flags&syscall.CLONE_NEWUSER != 0 {
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	c, err := spawn(mode, attr)
	if err != nil && flags != 0 && errors.Is(err, fs.ErrPermission) {
		t.Skipf("no permission to make namespaces (run as root): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.end)
	return c
}

func mustPin(t *testing.T, pid int) *Process {
	t.Helper()
	p, err := Pin(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}
