package cri

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"

	"github.com/porthole-project/porthole/cri/critest"
	"github.com/porthole-project/porthole/runtime"
)

// The connection is cut in the middle: the log has what the attachment missed,
// and nothing comes twice.
func TestStreamSurvivesACut(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, _ *Client) {
		r := stream(t, s, runtime.Streams{}, nil)
		n := 0
		speak := func(lines int) {
			for range lines {
				n++
				r.say("stdout", fmt.Sprintf("line %d\n", n))
				r.say("stderr", fmt.Sprintf("%d;", n))
			}
		}
		for range 3 {
			a := r.attachment(t)
			speak(100)
			a.Cut()
			speak(100) // nobody is attached, or is about to be
		}
		r.attachment(t)
		speak(10)
		r.c.Exit(0)
		r.end(t, 0)
		if got := r.told(); len(got) > 0 {
			t.Errorf("a cut that was mended was told: %q", got)
		}
	})
}

// The runtime restarts under the session: it goes on, and the user is told.
func TestStreamSurvivesARestart(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, _ *Client) {
		r := stream(t, s, runtime.Streams{}, nil)
		r.attachment(t)
		for i := range 50 {
			r.say("stdout", fmt.Sprintf("before %d\n", i))
		}
		s.Down()
		for i := range 50 {
			r.say("stdout", fmt.Sprintf("meanwhile %d\n", i))
		}
		eventually(t, "the user is told", func() bool { return len(r.told()) == 1 })
		s.Up()
		r.attachment(t)
		for i := range 50 {
			r.say("stdout", fmt.Sprintf("after %d\n", i))
		}
		r.c.Exit(7)
		r.end(t, 7)
		if got, want := r.told(), []string{"runtime restarting…", "runtime is back, the session goes on"}; !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

// The command ends while the runtime is away.
func TestStreamEndsDuringARestart(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, _ *Client) {
		r := stream(t, s, runtime.Streams{}, nil)
		r.attachment(t)
		r.say("stdout", "last words")
		s.Down()
		r.say("stdout", ", really\n")
		r.c.Exit(1)
		eventually(t, "the user is told", func() bool { return len(r.told()) == 1 })
		s.Up()
		r.end(t, 1)
	})
}

func TestStreamOfARuntimeThatStaysAway(t *testing.T) {
	s := serve(t, "containerd-2.4.2")
	r := launch(t, s, nil)
	r.client.limits.Create = 300 * time.Millisecond
	r.carry(t, runtime.Streams{})
	r.attachment(t)
	s.Down()
	select {
	case <-r.done:
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for ever")
	}
	if !errdefs.IsUnavailable(r.err) || !strings.Contains(r.err.Error(), "has not come back") {
		t.Error(r.err)
	}
	s.Up()
}

func TestStreamOfAContainerThatIsRemoved(t *testing.T) {
	s := serve(t, "containerd-2.4.2")
	r := stream(t, s, runtime.Streams{}, nil)
	r.attachment(t)
	if err := r.client.Remove(t.Context(), r.container.ID(), 0); err != nil {
		t.Fatal(err)
	}
	<-r.done
	// Whether its end was seen before it was gone is a matter of luck.
	if r.err != nil && (!errdefs.IsNotFound(r.err) || !strings.Contains(r.err.Error(), "removed by somebody")) || r.err == nil && r.exit.Code != 137 {
		t.Errorf("%+v, %v", r.exit, r.err)
	}
}

func TestStreamRefusedAttach(t *testing.T) {
	s := serve(t, "containerd-2.4.2")
	s.On("Attach").Fail(codes.Unknown, "streaming server is not configured")
	r := stream(t, s, runtime.Streams{}, nil)
	<-r.done
	if !errdefs.IsUnknown(r.err) || !strings.Contains(r.err.Error(), "streaming server is not configured") {
		t.Error(r.err)
	}
}

func TestStreamEndsWithItsContext(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, _ *Client) {
		r := launch(t, s, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { _, err := r.container.Stream(ctx, runtime.Streams{}); done <- err }()
		r.attachment(t)
		r.say("stdout", "nobody wants this\n")
		cancel()
		select {
		case err := <-done:
			if err == nil {
				t.Error("no error")
			}
		case <-time.After(5 * time.Second):
			t.Fatal("it does not end")
		}
		if s.Container(r.container.ID()) == nil {
			t.Error("the container went with the stream")
		}
		close(r.done)
	})
}

// A runtime that writes no log where it said it would: the attachment is all
// there is.
func TestStreamWithoutALog(t *testing.T) {
	s := serve(t, "containerd-2.4.2")
	r := launch(t, s, nil)
	_ = r.container.logs.Close()
	var err error
	if r.container.logs, err = follow(filepath.Join(t.TempDir(), "0.log")); err != nil {
		t.Fatal(err)
	}
	r.carry(t, runtime.Streams{})
	r.attachment(t)
	for i := range 100 {
		r.say("stdout", fmt.Sprintf("line %d\n", i))
	}
	time.Sleep(500 * time.Millisecond) // until it is believed that there is no log
	r.c.Exit(0)
	r.end(t, 0)
}

// Output that nobody can write any more does not stop the container's end from
// being seen, and is told.
func TestStreamBrokenOutput(t *testing.T) {
	s := serve(t, "containerd-2.4.2")
	r := launch(t, s, nil)
	done := make(chan error, 1)
	go func() {
		_, err := r.container.Stream(t.Context(), runtime.Streams{Stdout: brokenWriter{}})
		done <- err
	}()
	r.attachment(t)
	for range 100 {
		r.say("stdout", "unwanted\n")
	}
	r.c.Exit(0)
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "write output: disk full") {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	close(r.done)
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, fmt.Errorf("disk full") }
