package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestRecords(t *testing.T) {
	r, err := OpenRecords(filepath.Join(t.TempDir(), "records"))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	code := 3
	for i, rec := range []Record{
		{Session: "bbbb", PodUID: "u1", Container: "second", Created: at.Add(time.Second), Spec: json.RawMessage(`{"name":"second"}`)},
		{Session: "aaaa", PodUID: "u1", Container: "first", Created: at, Ended: at.Add(time.Minute), ExitCode: &code, Spec: json.RawMessage(`{}`)},
		{Session: "cccc", PodUID: "u2", Container: "other", Created: at.Add(time.Hour), Spec: json.RawMessage(`{}`)},
	} {
		if err := r.Write(rec); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	all, err := r.List()
	if err != nil || len(all) != 3 || all[0].Session != "aaaa" || all[1].Session != "bbbb" || *all[0].ExitCode != 3 || !all[0].Ended.Equal(at.Add(time.Minute)) {
		t.Errorf("%+v, %v", all, err)
	}
	if got := r.Names("u1"); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("names %q", got)
	}
	// The last whole line counts.
	path := filepath.Join(r.path, "aaaa.json")
	if err := r.Write(Record{Session: "aaaa", PodUID: "u1", Container: "first", Created: at, Reason: "again", Spec: json.RawMessage(`{}`)}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		rec, ok := r.Read("aaaa")
		if first := bytes.IndexByte(whole[1:], '\n') + 1; ok != (n >= first) || ok && rec.Container != "first" {
			t.Fatalf("cut at %d: %+v, %v", n, rec, ok)
		}
	}
	if err := os.WriteFile(path, whole[:len(whole)-9], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(Record{Session: "aaaa", PodUID: "u1", Container: "first", Created: at, Reason: "after", Spec: json.RawMessage(`{}`)}); err != nil {
		t.Fatal(err)
	}
	if rec, ok := r.Read("aaaa"); !ok || rec.Reason != "after" {
		t.Errorf("after a torn line: %+v", rec)
	}
	if _, ok := r.Read("none"); ok {
		t.Error("a record of nothing")
	}
	if err := r.Prune(func(rec Record) bool { return rec.PodUID == "u2" }); err != nil {
		t.Fatal(err)
	}
	if all, _ := r.List(); len(all) != 1 || all[0].Session != "cccc" {
		t.Errorf("after the pod has gone: %+v", all)
	}
	if err := r.Write(Record{Session: "../x", Spec: json.RawMessage(`{}`)}); err == nil {
		t.Error("a session that leaves the directory was written")
	}
	info, err := os.Stat(r.path)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// A file that is being written is not mistaken for damage.
func TestRecordsBesideWriters(t *testing.T) {
	r, err := OpenRecords(filepath.Join(t.TempDir(), "records"))
	if err != nil {
		t.Fatal(err)
	}
	const count = 500
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range count {
			if err := r.Write(Record{Session: fmt.Sprintf("s%04d", i), PodUID: "u1", Container: "c", Spec: json.RawMessage(`{}`)}); err != nil {
				t.Error(err)
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			r.Names("u1")
		}
	}
	if got := len(r.Names("u1")); got != count {
		t.Errorf("%d records of %d are left", got, count)
	}
}
