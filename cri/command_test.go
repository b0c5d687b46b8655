package cri

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/porthole-project/porthole/cri/critest"
	"github.com/porthole-project/porthole/runtime"
)

// command is what runs in a container of critest, and the part of the runtime
// that carries its output to the log and to whoever is attached.
type command struct {
	server   *critest.Server
	started  chan *critest.Container
	attached chan *critest.Attachment

	mu   sync.Mutex
	c    *critest.Container
	live []*critest.Attachment
	said map[string]*strings.Builder
}

func newCommand(s *critest.Server) *command {
	p := &command{
		server: s, started: make(chan *critest.Container, 1), attached: make(chan *critest.Attachment, 16),
		said: map[string]*strings.Builder{"stdout": {}, "stderr": {}},
	}
	s.OnStart(func(c *critest.Container) (int, error) {
		p.mu.Lock()
		p.c = c
		p.mu.Unlock()
		p.started <- c
		return 1 << 22, nil
	})
	s.OnAttach(func(a *critest.Attachment) {
		p.mu.Lock()
		p.live = append(p.live, a)
		p.mu.Unlock()
		p.attached <- a
		select {
		case <-a.Container.Done():
		case <-a.Done():
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.live = slices.DeleteFunc(p.live, func(b *critest.Attachment) bool { return a == b })
	})
	return p
}

// say writes to the log and to all attachments at once, as a runtime does under
// one lock.
func (p *command) say(stream, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.c.Log(stream, text)
	p.said[stream].WriteString(text)
	for _, a := range p.live {
		w := a.Stdout
		if stream == "stderr" {
			w = a.Stderr
		}
		_, _ = io.WriteString(w, text)
	}
}

func (p *command) all(stream string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said[stream].String()
}

// running is a launched container whose streams are being carried.
type running struct {
	*command
	client         *Client
	container      *Container
	stdout, stderr bytes.Buffer

	mu      sync.Mutex
	notices []string
	done    chan struct{}
	exit    runtime.Exit
	err     error
}

// stream launches a container and carries its streams.
func stream(t *testing.T, s *critest.Server, streams runtime.Streams, change func(*corev1.EphemeralContainer)) *running {
	t.Helper()
	r := launch(t, s, change)
	r.carry(t, streams)
	return r
}

func launch(t *testing.T, s *critest.Server, change func(*corev1.EphemeralContainer)) *running {
	t.Helper()
	r := &running{command: newCommand(s), client: dial(t, s), done: make(chan struct{})}
	var err error
	if r.container, err = r.client.Launch(t.Context(), planIn(t, r.client, "plain", change)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.container.Close() })
	<-r.started
	return r
}

func (r *running) carry(t *testing.T, streams runtime.Streams) {
	t.Helper()
	streams.Stdout, streams.Stderr = &r.stdout, &r.stderr
	streams.Notice = func(line string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.notices = append(r.notices, line)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); <-r.done })
	go func() {
		defer close(r.done)
		r.exit, r.err = r.container.Stream(ctx, streams)
	}()
}

func (r *running) attachment(t *testing.T) *critest.Attachment {
	t.Helper()
	select {
	case a := <-r.attached:
		return a
	case <-r.done:
		t.Fatalf("ended without being attached: %+v, %v", r.exit, r.err)
	case <-time.After(10 * time.Second):
		t.Fatal("nobody attaches")
	}
	return nil
}

// end waits for the end and compares all output.
func (r *running) end(t *testing.T, code int) {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(20 * time.Second):
		t.Fatal("the stream does not end")
	}
	if r.err != nil || r.exit.Code != code {
		t.Errorf("exit %+v, %v; want %d", r.exit, r.err, code)
	}
	for _, c := range []struct{ what, got, want string }{{"stdout", r.stdout.String(), r.all("stdout")}, {"stderr", r.stderr.String(), r.all("stderr")}} {
		if c.got != c.want {
			t.Errorf("%s: %d bytes, want %d:\n%.400q\n%.400q", c.what, len(c.got), len(c.want), c.got, c.want)
		}
	}
}

func (r *running) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.notices)
}
