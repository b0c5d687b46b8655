package testenv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// BuildPorthole builds a static porthole binary in directory dir, which remains
// the caller's to remove, and returns its path. The error holds what the
// compiler said.
func BuildPorthole(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "porthole")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "github.com/porthole-project/porthole/cmd/porthole")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", build, err, out)
	}
	return path, nil
}
