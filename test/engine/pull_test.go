package engine

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/porthole-project/porthole/cri/critest"
	"github.com/porthole-project/porthole/internal/agent"
	"github.com/porthole-project/porthole/runtime"
)

const tools = "localhost/tools:1"

// Who gives up while the image is on its way leaves nothing that gc would not
// find.
func TestCancelledPull(t *testing.T) {
	b := newBench(t, critest.WithRegistry(tools))
	b.server.On("PullImage").AfterEffect().Delay(300 * time.Millisecond)
	o := b.order(t)
	o.Spec.Image, o.Spec.ImagePullPolicy, o.RemoveImage = tools, "", true
	why := errors.New("ctrl-c")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
	if _, err := b.Prepare(ctx, o); err == nil {
		t.Fatal("prepared")
	}
	b.Host.Running = func(string) (bool, bool) { return false, true }
	if _, err := b.Collect(t.Context(), false); err != nil {
		t.Error(err)
	}
	if _, err := b.client.Image(t.Context(), runtime.ImageOrder{Ref: tools, Policy: "Never"}); err == nil {
		t.Error("the image is there")
	}
	if files, _ := os.ReadDir(b.state); len(files) != 0 {
		t.Errorf("the journal has %v", files)
	}
}

// A pull that came to nothing leaves no entry.
func TestRefusedPull(t *testing.T) {
	b := newBench(t)
	o := b.order(t)
	o.Spec.Image, o.Spec.ImagePullPolicy, o.RemoveImage = tools, "", true
	if _, err := b.Prepare(t.Context(), o); err == nil {
		t.Fatal("prepared")
	}
	if files, _ := os.ReadDir(b.state); len(files) != 0 {
		t.Errorf("the journal has %v", files)
	}
}

// The time of a session begins when its image is there.
func TestPullTakesNoTime(t *testing.T) {
	b := newBench(t, critest.WithRegistry(tools))
	b.server.On("PullImage").Delay(1200 * time.Millisecond)
	o := b.order(t)
	o.Spec.Image, o.Spec.ImagePullPolicy, o.TTL = tools, "", 3*time.Second
	p := b.prepare(t, o)
	mark, err := runtime.ReadMark(p.Plan.Labels)
	if left := time.Until(mark.Expires); err != nil || left < 1900*time.Millisecond || !mark.Expires.Equal(p.Expires) {
		t.Errorf("%v left, %v", left, err)
	}
}

// Until it is proved, an unattended session has a keeper, whose death ends it.
func TestUnattendedStartIsKilled(t *testing.T) {
	b := newBench(t)
	b.server.OnStart(critest.Process("sleep", "3600"))
	o := b.order(t)
	o.Unattended, o.TTL = true, time.Hour
	p := b.prepare(t, o)
	if _, err := b.Run(t.Context(), p, runtime.Streams{}); err != nil {
		t.Fatal(err)
	}
	b.Host.Running = func(keeper string) (bool, bool) { return false, keeper != "" }
	if removed, err := b.Collect(t.Context(), false); err != nil || len(removed) != 0 {
		t.Errorf("one that was proved and left: %+v, %v", removed, err)
	}
	// As it was in the moment before.
	entries, err := b.Journal.List()
	if err != nil || len(entries) != 1 {
		t.Fatalf("%+v, %v", entries, err)
	}
	entries[0].Keeper = "live"
	if err := b.Journal.Write(entries[0]); err != nil {
		t.Fatal(err)
	}
	if removed, err := b.Collect(t.Context(), false); err != nil || len(removed) != 1 {
		t.Errorf("one whose start was killed: %+v, %v", removed, err)
	}
	b.nothingLeft(t, p)
}

// nothing is a runtime without any of our containers.
type nothing struct{ agent.Store }

func (nothing) Ours(context.Context) ([]runtime.Info, error) { return nil, nil }

// What the journal has of another runtime is not touched.
func TestForeignEntries(t *testing.T) {
	b := newBench(t)
	b.Endpoint = "unix:///here.sock"
	b.server.OnStart(critest.Process("sleep", "3600"))
	o := b.order(t)
	o.Unattended, o.TTL = true, time.Hour
	if _, err := b.Run(t.Context(), b.prepare(t, o), runtime.Streams{}); err != nil {
		t.Fatal(err)
	}
	other := agent.Engine{Rung: b.Rung, Store: b.Store, Host: b.Host, Journal: b.Journal, Notice: b.Notice, Endpoint: "unix:///elsewhere.sock"}
	other.Host.Running = func(string) (bool, bool) { return false, true }
	other.Store = nothing{b.client}
	if removed, err := other.Collect(t.Context(), true); err != nil || len(removed) != 0 {
		t.Errorf("%+v, %v", removed, err)
	}
	if removed, err := b.Collect(t.Context(), true); err != nil || len(removed) != 1 {
		t.Errorf("its own: %+v, %v", removed, err)
	}
}
