package cri

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRemoveEmptyGroups(t *testing.T) {
	root, id := t.TempDir(), strings.Repeat("ab", 32)
	path := "/kubepods/pod1/" + id
	make := func(parts ...string) string {
		t.Helper()
		dir := filepath.Join(append([]string{root}, parts...)...)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	gone := []string{make("memory", path), make("cpu", path), make("kubepods", "pod1", id)}
	stays := []string{make("pids", path, "child"), make("pids", path), make("memory", "kubepods", "pod1", "other"), make("freezer", "kubepods", "pod1")}
	for _, bad := range []string{"", "system.slice:cri:" + id, "/kubepods/pod1", "/../" + id + "/x", "relative/" + id} {
		removeEmptyGroups(root, bad, id)
	}
	for _, dir := range gone {
		if _, err := os.Stat(dir); err != nil {
			t.Fatalf("%s was removed for a path that names no group of the container", dir)
		}
	}
	removeEmptyGroups(root, path, id)
	for _, dir := range gone {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s stays", dir)
		}
	}
	for _, dir := range stays {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("%s was removed", dir)
		}
	}
}
