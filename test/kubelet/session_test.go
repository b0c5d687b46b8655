package kubelet

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/porthole-project/porthole/test/testenv"
)

// waits is the command of a debug container: it ends with status 7 when it is
// told to, after it has written its termination message.
const waits = "echo ready; read line; echo done >/dev/termination-log; exit 7"

// session is a run of porthole debug.
type session struct {
	cmd      *exec.Cmd
	daemon   *testenv.Daemon // the process, which does not outlive this one
	stdin    io.WriteCloser
	out      *output
	stateDir string
	id, name string // of the debug container
}

// porthole prepares a run of the binary on the node.
func (k *kubelet) porthole(stateDir string, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, append([]string{
		"--runtime-endpoint=" + k.node.Endpoint(), "--kubelet-root=" + k.node.KubeletRoot(), "--state-dir=" + stateDir,
	}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "PORTHOLE_CONFIG=" + filepath.Join(stateDir, "config.yaml")}
	return cmd
}

// debug is the command line of a session in the pod.
func (w *watched) debug(flags ...string) []string {
	return append([]string{"debug", namespace + "/" + w.fullName(), "--image=" + testenv.ImageBusybox, "-i"}, flags...)
}

// open starts a session and returns once its command runs and its container is
// known. The caller ends it with stop, whatever open returns.
func (w *watched) open(ctx context.Context, stateDir string) error {
	s := &session{out: &output{}, stateDir: stateDir}
	s.cmd = w.k.porthole(stateDir, append(w.debug(w.flags...), "--", "sh", "-c", waits)...)
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	if s.daemon, err = testenv.StartDaemon(s.cmd); err != nil {
		return err
	}
	w.session = s
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(s.out.String(), "ready\n"); time.Sleep(5 * time.Millisecond) {
		if !s.daemon.Running() || time.Now().After(deadline) {
			return fmt.Errorf("pod %s is not open: %s", w.name, s.out)
		}
	}
	found, err := w.ours(ctx)
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("pod %s has %d debug containers", w.name, len(found))
	}
	s.id, s.name = found[0].GetId(), found[0].GetMetadata().GetName()
	there, err := w.traces(ctx, s)
	if err == nil && len(there) < 4 {
		err = fmt.Errorf("pod %s is open and there are only %q", w.name, there)
	}
	return err
}

// ended waits for the process and returns an error unless it ended with want.
func (s *session) ended(want int, within time.Duration) error {
	for deadline := time.Now().Add(within); s.daemon.Running(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("session %s still runs after %s: %s", s.name, within, s.out)
		}
	}
	if got := s.cmd.ProcessState.ExitCode(); got != want {
		return fmt.Errorf("session %s: %s, want exit code %d: %s", s.name, s.cmd.ProcessState, want, s.out)
	}
	return nil
}

// stop ends a session that a failed test has left.
func (s *session) stop() {
	if s != nil {
		s.daemon.End(syscall.SIGTERM, 10*time.Second)
	}
}

// output keeps what is written to it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
