package engine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/porthole-project/porthole/internal/agent"
	"github.com/porthole-project/porthole/internal/journal"
	"github.com/porthole-project/porthole/runtime"
)

// open leaves a debug container running, as a session of somebody else's.
func (b *bench) open(t *testing.T, session, keeper string, expires time.Time) *agent.Prepared {
	t.Helper()
	o := b.order(t)
	o.Spec.Name = "dbg-" + session
	p := b.prepare(t, o)
	p.Session = session
	p.Plan.Labels = runtime.Mark{Session: session, Keeper: keeper, Expires: expires}.Labels()
	for key, value := range map[string]string{
		runtime.LabelPodName: p.Plan.Pod.Name, runtime.LabelPodNamespace: p.Plan.Pod.Namespace,
		runtime.LabelPodUID: p.Plan.Pod.UID, runtime.LabelContainerName: p.Plan.Name,
	} {
		p.Plan.Labels[key] = value
	}
	k, err := b.client.Launch(t.Context(), p.Plan)
	if err != nil {
		t.Fatal(err)
	}
	_ = k.Close()
	b.write(t, journal.Entry{
		Session: session, Keeper: keeper, Namespace: p.Plan.Pod.Namespace, Pod: p.Plan.Pod.Name, Container: p.Plan.Name,
		Created: time.Now(), Expires: expires, Paths: []string{filepath.Join(p.Plan.LogDirectory, p.Plan.Name)}, Verification: "verified: net",
	})
	return p
}

func (b *bench) write(t *testing.T, e journal.Entry) {
	t.Helper()
	if err := b.Journal.Write(e); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) exit(t *testing.T, session string, code int32) {
	t.Helper()
	found, err := b.client.Containers(t.Context(), map[string]string{runtime.LabelSession: session})
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	b.server.Container(found[0].ID).Exit(code)
}

func sessionsOf(removed []agent.Removed) []string {
	var out []string
	for _, r := range removed {
		out = append(out, r.Session+": "+r.Why)
	}
	slices.Sort(out)
	return out
}

func TestCollect(t *testing.T) {
	b := newBench(t)
	past, future := time.Now().Add(-time.Hour).UTC().Truncate(time.Second), time.Now().Add(time.Hour)
	before, err := b.client.Containers(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	b.open(t, "live", "live", future)
	b.open(t, "endless", "live", time.Time{})
	b.open(t, "ending", "live", future) // its keeper is at it
	b.exit(t, "ending", 0)
	b.open(t, "ended", "dead", future)
	b.exit(t, "ended", 3)
	b.open(t, "expired", "live", past)
	b.open(t, "orphan", "dead", future)
	b.open(t, "remote", "of another boot, or damaged", future)
	b.open(t, "remotepast", "of another boot, or damaged", past)
	b.write(t, journal.Entry{Session: "unborn", Keeper: "dead", Container: "dbg-unborn", Created: past})
	b.write(t, journal.Entry{Session: "beginning", Keeper: "live", Container: "dbg-beginning", Created: time.Now()})
	b.write(t, journal.Entry{Session: "unknown", Keeper: "?", Container: "dbg-unknown", Created: past, Expires: future})
	b.write(t, journal.Entry{Session: "unknownpast", Keeper: "?", Container: "dbg-unknown", Created: past, Expires: past})

	want := []string{
		"ended: ended with exit code 3", "expired: expired at " + past.Format(time.RFC3339), "orphan: lost its keeper",
		"remotepast: expired at " + past.Format(time.RFC3339), "unborn: left without a container", "unknownpast: left without a container",
	}
	doomed, err := b.Doomed(t.Context(), false)
	if err != nil || !slices.Equal(sessionsOf(doomed), want) {
		t.Errorf("doomed\n%s, %v; want\n%s", strings.Join(sessionsOf(doomed), "\n"), err, strings.Join(want, "\n"))
	}
	if n := len(b.server.Calls("RemoveContainer")); n > 0 {
		t.Fatalf("%d were removed by asking", n)
	}
	removed, err := b.Collect(t.Context(), false)
	if err != nil || !slices.Equal(sessionsOf(removed), want) {
		t.Errorf("removed\n%s, %v", strings.Join(sessionsOf(removed), "\n"), err)
	}
	ours, err := b.Sessions(t.Context())
	var left []string
	for _, s := range ours {
		left = append(left, s.Mark.Session)
		if s.Verification != "verified: net" {
			t.Errorf("%s: verification %q", s.Mark.Session, s.Verification)
		}
	}
	slices.Sort(left)
	if err != nil || !slices.Equal(left, []string{"ending", "endless", "live", "remote"}) {
		t.Errorf("left %q, %v", left, err)
	}
	if again, err := b.Collect(t.Context(), false); err != nil || len(again) > 0 {
		t.Errorf("the second time: %+v, %v", again, err)
	}
	// --all: the live ones too, but nobody else's containers.
	if all, err := b.Collect(t.Context(), true); err != nil || len(all) != 6 {
		t.Errorf("all: %+v, %v", all, err)
	}
	after, err := b.client.Containers(t.Context(), nil)
	if err != nil || len(after) != len(before) {
		t.Errorf("%d containers, %d before: %v", len(after), len(before), err)
	}
	if files, err := os.ReadDir(b.state); err != nil || len(files) > 0 {
		t.Errorf("journal: %v, %v", files, err)
	}
}

// What is removed is removed with its directories, whoever knows of them.
func TestCollectRemovesDirectories(t *testing.T) {
	for _, lost := range []bool{false, true} {
		b := newBench(t)
		p := b.open(t, "orphan", "dead", time.Time{})
		dir := filepath.Join(p.Plan.LogDirectory, p.Plan.Name)
		if !exists(filepath.Join(dir, "0.log")) {
			t.Fatal("no log")
		}
		if lost {
			if err := os.WriteFile(filepath.Join(b.state, "orphan.json"), []byte(`{"session":"orp`), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if removed, err := b.Collect(t.Context(), false); err != nil || len(removed) != 1 {
			t.Errorf("journal lost %v: %+v, %v", lost, removed, err)
		}
		if exists(dir) || !exists(p.Plan.LogDirectory) {
			t.Errorf("journal lost %v: the log directory is left, or the pod's went with it", lost)
		}
		b.nothingLeft(t, p)
	}
}

// A journal that somebody tampered with removes nothing but directories of the
// container's name.
func TestCollectRefusesForeignPaths(t *testing.T) {
	b := newBench(t)
	victim := t.TempDir()
	b.write(t, journal.Entry{Session: "evil", Keeper: "dead", Container: "dbg", Created: time.Now().Add(-time.Hour), Paths: []string{victim}})
	b.open(t, "orphan", "dead", time.Time{})
	removed, err := b.Collect(t.Context(), false)
	if err == nil || !strings.Contains(err.Error(), victim) {
		t.Errorf("%+v, %v", removed, err)
	}
	if !exists(victim) {
		t.Error("a foreign directory was removed")
	}
	if ours, err := b.Sessions(t.Context()); err != nil || len(ours) > 0 {
		t.Errorf("one bad entry stopped the rest: %+v, %v", ours, err)
	}
}

func TestCollectGoesOnBehindAnError(t *testing.T) {
	b := newBench(t)
	b.open(t, "first", "dead", time.Time{})
	b.open(t, "second", "dead", time.Time{})
	b.server.On("RemoveContainer").Fail(codes.Unavailable, "down").Times(1)
	removed, err := b.Collect(t.Context(), false)
	if err == nil || len(removed) != 2 {
		t.Errorf("%+v, %v", removed, err)
	}
	if ours, _ := b.Sessions(t.Context()); len(ours) != 1 {
		t.Errorf("%d left, want the one that could not be removed", len(ours))
	}
	if _, err := b.Collect(t.Context(), false); err != nil {
		t.Error(err)
	}
	b.server.On("ListContainers").Fail(codes.Unavailable, "down").Times(1)
	if _, err := b.Collect(t.Context(), false); err == nil {
		t.Error("the runtime is away, and nobody was told")
	}
}

// A keeper that died a moment ago may have a container that the runtime is
// still creating.
func TestCollectWaitsForTheUnborn(t *testing.T) {
	b := newBench(t)
	b.write(t, journal.Entry{Session: "late", Keeper: "dead", Container: "dbg-late", Created: time.Now()})
	done := make(chan []agent.Removed, 1)
	go func() {
		removed, err := b.Collect(t.Context(), false)
		if err != nil {
			t.Error(err)
		}
		done <- removed
	}()
	time.Sleep(300 * time.Millisecond)
	p := b.open(t, "late", "dead", time.Time{})
	if got := sessionsOf(<-done); !slices.Equal(got, []string{"late: lost its keeper"}) {
		t.Errorf("%q", got)
	}
	b.nothingLeft(t, p)
}
