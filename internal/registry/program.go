package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
)

const (
	// patience is what a program may take. Kubelet gives its plugins a minute
	// (plugin.go:ExecPlugin), but nobody watches it wait.
	patience = 30 * time.Second
	// outputLimit is far more than any answer.
	outputLimit = 1 << 20
)

// A program answers on standard output to what it reads from standard input.
type program struct {
	path, name string
	args, env  []string
	// wait is how long it may take; 0 is patience.
	wait time.Duration
}

// errTooMuch stops a program that does not stop by itself.
var errTooMuch = fmt.Errorf("it wrote more than %d bytes", outputLimit)

// bounded keeps what fits, and stops who writes more: a program may well
// ignore that nobody reads it.
type bounded struct {
	text []byte // no bytes.Buffer embedded: io.Copy would use its ReadFrom
	stop context.CancelCauseFunc
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.text)+len(p) > outputLimit {
		b.stop(errTooMuch)
		return 0, errTooMuch
	}
	b.text = append(b.text, p...)
	return len(p), nil
}

// run runs the program with the caller's environment, as kubelet runs its
// plugins with its own (plugin.go:mergeEnvVars). What it writes to standard
// error may hold secrets and is dropped. The output is returned even if it
// ends with an error, which is [errdefs.ErrUnavailable].
func (p program) run(ctx context.Context, input []byte) ([]byte, error) {
	wait := cmp.Or(p.wait, patience)
	timed, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	limited, stop := context.WithCancelCause(timed)
	defer stop(nil)
	output := bounded{stop: stop}
	cmd := exec.CommandContext(limited, p.path, p.args...)
	cmd.Args[0] = p.name
	cmd.Env = append(cmd.Environ(), p.env...)
	cmd.Stdin, cmd.Stdout = bytes.NewReader(input), &output
	// Its children go with it, so that none keeps the pipe open.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case err == nil:
		return output.text, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(context.Cause(limited), errTooMuch):
		return nil, fmt.Errorf("%s: %w: %w", p.name, errTooMuch, errdefs.ErrUnavailable)
	case limited.Err() != nil:
		return nil, fmt.Errorf("%s did not answer within %s: %w", p.name, wait, errdefs.ErrUnavailable)
	}
	return output.text, fmt.Errorf("%s: %w; what it says about that is not shown, it may be secret: %w", p.name, err, errdefs.ErrUnavailable)
}

// executable finds out what a path leads to, and that only root (or the caller)
// can have put it there.
func executable(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", classed(err)
	}
	for _, at := range []string{filepath.Dir(path), filepath.Dir(real), real} {
		info, err := os.Stat(at)
		if err != nil {
			return "", classed(err)
		}
		if err := trusted(at, info); err != nil {
			return "", err
		}
		if at == real && (!info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0) {
			return "", fmt.Errorf("%s is not executable: %w", real, errdefs.ErrPermissionDenied)
		}
	}
	return real, nil
}

// plain refuses a name that is more than one (plugin/config.go:
// validateCredentialProviderConfig).
func plain(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/ \x00") {
		return fmt.Errorf("%q is not the name of a program: %w", name, errdefs.ErrInvalidArgument)
	}
	return nil
}

// help asks the program that holds the credentials of the image's registry, if
// the configuration names one, in the protocol of docker-credential-helpers.
func (c config) help(ctx context.Context, image Image) ([]Credential, error) {
	name := c.store
	for _, registry := range []string{dockerHub, image.server(), image.host} {
		if helper, ok := c.helpers[registry]; ok && (registry != dockerHub || image.host == "docker.io") {
			name = helper
		}
	}
	if name == "" {
		return nil, nil
	}
	if c.follow != nil {
		return nil, fmt.Errorf("its credential helper is not asked: %w", c.follow)
	}
	if err := plain(name); err != nil {
		return nil, fmt.Errorf("its credential helper: %w", err)
	}
	found, err := exec.LookPath("docker-credential-" + name)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("its credential helper docker-credential-%s is not in PATH: %w", name, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("its credential helper: %w: %w", err, errdefs.ErrPermissionDenied)
	}
	path, err := executable(found)
	if err != nil {
		return nil, fmt.Errorf("its credential helper: %w", err)
	}
	output, err := program{path: path, name: found, args: []string{"get"}}.run(ctx, []byte(image.server()))
	if err != nil {
		if bytes.Contains(output, []byte("credentials not found")) {
			return nil, nil
		}
		return nil, err
	}
	var answer struct{ Username, Secret string }
	if json.Unmarshal(output, &answer) != nil || answer.Secret == "" {
		return nil, fmt.Errorf("%s did not answer with a credential: %w", found, errdefs.ErrDataLoss)
	}
	s := secret{username: answer.Username, password: answer.Secret}
	if answer.Username == "<token>" {
		s = secret{identityToken: answer.Secret}
	}
	return []Credential{credential(c.from+" by docker-credential-"+name, s)}, nil
}
