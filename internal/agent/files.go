package agent

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
)

// checkFree makes sure, before the journal names them, that the session's
// directories are not there yet: what the journal names is removed after a crash.
func checkFree(paths []string) error {
	for _, path := range paths {
		if _, err := os.Lstat(path); err == nil {
			return usedBefore(path)
		}
	}
	return nil
}

func usedBefore(path string) error {
	return fmt.Errorf("container name %q was used in this pod before (%s exists); choose another: %w", filepath.Base(path), path, errdefs.ErrAlreadyExists)
}

// makeDirectories makes the session's own directories and returns those that it
// made: one that is there already belongs to somebody else, who used the name
// before, and must not be removed with this session.
func makeDirectories(paths []string) (made []string, err error) {
	mode := fs.FileMode(0o755) // of the log's, as kubelet has it
	for _, path := range paths {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return made, fmt.Errorf("directory of container %q: %w", filepath.Base(path), err)
		}
		err := os.Mkdir(path, mode)
		if errors.Is(err, fs.ErrExist) {
			return made, usedBefore(path)
		}
		if err != nil {
			return made, fmt.Errorf("directory of container %q: %w", filepath.Base(path), err)
		}
		made = append(made, path)
		mode = 0o750 // and of the termination log's
	}
	return made, nil
}

// makeTerminationLog makes the file as kubelet does (makeMounts): empty and
// writable for any user of the container.
func makeTerminationLog(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("termination log %s is there already: %w", path, err)
	}
	if err != nil {
		return fmt.Errorf("termination log: %w", err)
	}
	// The umask may have taken bits away.
	return errors.Join(f.Chmod(0o666), f.Close())
}

// randomHex is the name of a termination log: eight hex digits.
func randomHex() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
