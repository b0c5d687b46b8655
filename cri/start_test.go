package cri

import (
	"io"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"

	"github.com/porthole-project/porthole/cri/critest"
)

// aside lets a second goroutine stand for the process that starts containers.
func aside(t *testing.T) (*Starter, <-chan error) {
	t.Helper()
	hisIn, ourOut := io.Pipe()
	ourIn, hisOut := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := ServeStart(t.Context(), hisIn, hisOut)
		_ = hisOut.Close()
		ended <- err
	}()
	return &Starter{In: ourOut, Out: ourIn}, ended
}

func TestStartAside(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, c *Client) {
		var ended <-chan error
		c.Starter, ended = aside(t)
		k, err := c.Launch(t.Context(), planIn(t, c, "plain", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(s.Created()) != 1 || k.ID() == "" {
			t.Errorf("created %d containers, ID %q", len(s.Created()), k.ID())
		}
	})
}

// What the runtime says comes through with its class.
func TestStartAsideFails(t *testing.T) {
	onBoth(t, func(t *testing.T, s *critest.Server, c *Client) {
		var ended <-chan error
		c.Starter, ended = aside(t)
		s.On("StartContainer").Fail(codes.Unknown, `exec: "nosuch": executable file not found in $PATH`)
		if _, err := c.Launch(t.Context(), planIn(t, c, "plain", nil)); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "command not found") {
			t.Errorf("got %v", err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		nothingLeft(t, c)
	})
}

func TestStartAsideThatIsNotNeededOrDies(t *testing.T) {
	starter, ended := aside(t)
	if err := starter.In.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("an input that ends before the order: %v", err)
	}
	onBoth(t, func(t *testing.T, s *critest.Server, c *Client) {
		in, out := io.Pipe()
		go func() { _, _ = io.Copy(io.Discard, in) }()
		c.Starter = &Starter{In: out, Out: strings.NewReader("")}
		if _, err := c.Launch(t.Context(), planIn(t, c, "plain", nil)); !errdefs.IsUnavailable(err) {
			t.Errorf("got %v", err)
		}
		nothingLeft(t, c)
	})
}
