package journal

import (
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

func TestWriteListRemove(t *testing.T) {
	d, err := Open(filepath.Join(t.TempDir(), "sessions"))
	if err != nil {
		t.Fatal(err)
	}
	e := Entry{Session: "abcd1234", Keeper: "k", Pod: "p", Container: "c", Created: time.Now().UTC().Round(0), Paths: []string{"/x/c"}}
	if err := d.Write(e); err != nil {
		t.Fatal(err)
	}
	e.Verification = "verified"
	if err := d.Write(e); err != nil {
		t.Fatal(err)
	}
	got, err := d.List()
	if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], e) {
		t.Fatalf("got %+v, %v; want %+v", got, err, e)
	}
	for range 2 {
		if err := d.Remove(e.Session); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := d.List(); err != nil || len(got) != 0 {
		t.Fatalf("after removal: %+v, %v", got, err)
	}
}

// Whatever a crash or a hand did to the files, the rest is still read.
func TestDamage(t *testing.T) {
	path := t.TempDir()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	good := Entry{Session: "good1", Container: "c"}
	if err := d.Write(good); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(path, "good1.json"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) - 1 {
		if err := os.WriteFile(filepath.Join(path, "torn1.json"), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := d.List()
		if err != nil || len(got) != 1 || got[0].Session != "good1" {
			t.Fatalf("cut at %d: %+v, %v", n, got, err)
		}
	}
	old := filepath.Join(path, "x.1.tmp")
	f, err := os.Create(old)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for _, alive := range []bool{true, false} {
		if !alive {
			f.Close()
		}
		if _, err := d.List(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(old); (err == nil) != alive {
			t.Errorf("writer alive %v: temporary file: %v", alive, err)
		}
	}
}

func TestSessionNamesArePathSafe(t *testing.T) {
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "../evil", "a/b", "A", ".x", "abc"} {
		if err := d.Write(Entry{Session: name}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("Write(%q) = %v", name, err)
		}
		if err := d.Remove(name); !errdefs.IsInvalidArgument(err) {
			t.Errorf("Remove(%q) = %v", name, err)
		}
	}
}
