package testenv

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
)

// appSource is the program of localhost/app:1. It is built outside this
// module, so that the fixture works from any working directory.
//
//go:embed app/main.go
var appSource []byte

const appModule = "module app\n\ngo 1.26\n"

// buildApp returns the path of the static app binary, built at first use and
// kept in the cache under a name that changes with source and Go version.
func buildApp(ctx context.Context) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(goruntime.Version()+goruntime.GOARCH), appSource...))
	path := filepath.Join(cache, "app-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("test image app: %w", err)
	}
	dir, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", fmt.Errorf("test image app: %w", err)
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string][]byte{"main.go": appSource, "go.mod": []byte(appModule)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return "", fmt.Errorf("test image app: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", "app", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("test image app: go build: %s: %w", bytes.TrimSpace(out), err)
	}
	// Two processes may build at once; the rename makes either result whole.
	if err := os.Rename(filepath.Join(dir, "app"), path); err != nil {
		return "", fmt.Errorf("test image app: %w", err)
	}
	return path, nil
}
