package critest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/moby/spdystream"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/cri/critest"
)

// client is the other end of an attach, written against the protocol rather than against the server.
type client struct {
	conn    net.Conn
	streams map[string]*spdystream.Stream
}

// request sends the upgrade and returns the answer with the connection.
func request(t *testing.T, address string, headers map[string]string) (*http.Response, net.Conn) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\n", u.Path, u.Host)
	for k, v := range headers {
		fmt.Fprintf(conn, "%s: %s\r\n", k, v)
	}
	fmt.Fprint(conn, "\r\n")
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp, conn
}

var upgrade = map[string]string{
	"Connection": "Upgrade", "Upgrade": "SPDY/3.1",
	"X-Stream-Protocol-Version": "v5.channel.k8s.io, v4.channel.k8s.io, channel.k8s.io",
}

// attach opens an attach and its streams.
func attach(t *testing.T, c runtimeapi.RuntimeServiceClient, req *runtimeapi.AttachRequest, kinds ...string) *client {
	t.Helper()
	answer, err := c.Attach(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	resp, conn := request(t, answer.GetUrl(), upgrade)
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("X-Stream-Protocol-Version") != "v4.channel.k8s.io" {
		t.Fatalf("the upgrade was answered with %s, %v", resp.Status, resp.Header)
	}
	mux, err := spdystream.NewConnection(conn, false)
	if err != nil {
		t.Fatal(err)
	}
	go mux.Serve(spdystream.NoOpStreamHandler)
	a := &client{conn: conn, streams: map[string]*spdystream.Stream{}}
	for _, kind := range append([]string{"error"}, kinds...) {
		stream, err := mux.CreateStream(http.Header{"streamType": {kind}}, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.WaitTimeout(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		a.streams[kind] = stream
	}
	return a
}

func (a *client) read(t *testing.T, kind string) string {
	t.Helper()
	raw, err := io.ReadAll(a.streams[kind])
	if err != nil {
		t.Errorf("%s: %v", kind, err)
	}
	return string(raw)
}

func TestAttachCarriesStreams(t *testing.T) {
	flavors(t, func(t *testing.T, s *critest.Server) {
		c := runtimeOf(t, s)
		id := create(t, s, c, "dbg")
		start(t, c, id)
		s.OnAttach(func(a *critest.Attachment) {
			said, err := io.ReadAll(a.Stdin)
			if err != nil || a.TTY || a.Resize != nil || a.Container.ID() != id {
				t.Errorf("attachment %+v: %v", a, err)
			}
			fmt.Fprintf(a.Stdout, "you said %s", said)
			fmt.Fprint(a.Stderr, "and I heard it")
		})
		a := attach(t, c, &runtimeapi.AttachRequest{ContainerId: id, Stdin: true, Stdout: true, Stderr: true}, "stdin", "stdout", "stderr")
		fmt.Fprint(a.streams["stdin"], "hello")
		_ = a.streams["stdin"].Close()
		for kind, want := range map[string]string{"stdout": "you said hello", "stderr": "and I heard it", "error": `{"status":"Success"}`} {
			if got := a.read(t, kind); got != want {
				t.Errorf("%s carried %q, want %q", kind, got, want)
			}
		}
	})
}

func TestAttachResizesTTY(t *testing.T) {
	s := critest.New(t)
	c := runtimeOf(t, s)
	id := create(t, s, c, "dbg")
	start(t, c, id)
	s.OnAttach(func(a *critest.Attachment) {
		for size := range a.Resize {
			fmt.Fprintf(a.Stdout, "%dx%d ", size.Width, size.Height)
		}
	})
	a := attach(t, c, &runtimeapi.AttachRequest{ContainerId: id, Tty: true, Stdout: true}, "stdout", "resize")
	fmt.Fprint(a.streams["resize"], `{"Width":80,"Height":24}`+"\n"+`{"Width":132,"Height":50}`)
	_ = a.streams["resize"].Close()
	if got := a.read(t, "stdout"); got != "80x24 132x50 " {
		t.Errorf("sizes %q", got)
	}
}

func TestAttachEndsWithoutAWord(t *testing.T) {
	for name, end := range map[string]func(s *critest.Server, a *critest.Attachment){
		"cut":  func(_ *critest.Server, a *critest.Attachment) { a.Cut() },
		"down": func(s *critest.Server, _ *critest.Attachment) { go s.Down() },
	} {
		t.Run(name, func(t *testing.T) {
			s := critest.New(t)
			c := runtimeOf(t, s)
			id := create(t, s, c, "dbg")
			start(t, c, id)
			s.OnAttach(func(a *critest.Attachment) {
				end(s, a)
				<-a.Done()
			})
			a := attach(t, c, &runtimeapi.AttachRequest{ContainerId: id, Stdout: true}, "stdout")
			if out, verdict := a.read(t, "stdout"), a.read(t, "error"); out != "" || verdict != "" {
				t.Errorf("stdout %q, error %q", out, verdict)
			}
			if st := s.Container(id).State(); st != runtimeapi.ContainerState_CONTAINER_RUNNING {
				t.Errorf("the container is %v", st)
			}
		})
	}
}

func TestAttachIsSilentUntilExit(t *testing.T) {
	s := critest.New(t)
	c := runtimeOf(t, s)
	id := create(t, s, c, "dbg")
	start(t, c, id)
	a := attach(t, c, &runtimeapi.AttachRequest{ContainerId: id, Stdin: true, Stdout: true}, "stdin", "stdout")
	fmt.Fprint(a.streams["stdin"], "nobody listens")
	s.Container(id).Exit(0)
	if out, verdict := a.read(t, "stdout"), a.read(t, "error"); out != "" || verdict != `{"status":"Success"}` {
		t.Errorf("stdout %q, error %q", out, verdict)
	}
}

func TestAttachAfterTheOffer(t *testing.T) {
	s := critest.New(t)
	c := runtimeOf(t, s)
	id := create(t, s, c, "dbg")
	start(t, c, id)
	answer, err := c.Attach(t.Context(), &runtimeapi.AttachRequest{ContainerId: id, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	without := func(name string, value string) map[string]string {
		h := map[string]string{}
		for k, v := range upgrade {
			h[k] = v
		}
		h[name] = value
		return h
	}
	for _, tc := range []struct {
		headers map[string]string
		status  int
	}{
		{without("X-Stream-Protocol-Version", "v5.channel.k8s.io"), http.StatusForbidden},
		{upgrade, http.StatusNotFound}, // a token is good for one request, whatever came of it
	} {
		resp, _ := request(t, answer.GetUrl(), tc.headers)
		if resp.StatusCode != tc.status {
			t.Errorf("%v: %s, want %d", tc.headers, resp.Status, tc.status)
		}
	}
	answer, err = c.Attach(t.Context(), &runtimeapi.AttachRequest{ContainerId: id, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	if resp, _ := request(t, answer.GetUrl(), without("Upgrade", "websocket")); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("websocket: %s", resp.Status)
	}
	s.Container(id).Exit(0)
	_, err = c.Attach(t.Context(), &runtimeapi.AttachRequest{ContainerId: id, Stdout: true})
	wantCode(t, err, codes.Unknown, "CONTAINER_EXITED state")
}

func TestAttachToAContainerThatLeft(t *testing.T) {
	s := critest.New(t)
	c := runtimeOf(t, s)
	id := create(t, s, c, "dbg")
	start(t, c, id)
	answer, err := c.Attach(t.Context(), &runtimeapi.AttachRequest{ContainerId: id, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Container(id).Exit(0)
	resp, conn := request(t, answer.GetUrl(), upgrade)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp.Status)
	}
	mux, err := spdystream.NewConnection(conn, false)
	if err != nil {
		t.Fatal(err)
	}
	go mux.Serve(spdystream.NoOpStreamHandler)
	a := &client{streams: map[string]*spdystream.Stream{}}
	for _, kind := range []string{"error", "stdout"} {
		if a.streams[kind], err = mux.CreateStream(http.Header{"streamType": {kind}}, nil, false); err != nil {
			t.Fatal(err)
		}
	}
	if verdict := a.read(t, "error"); !strings.Contains(verdict, `"Failure"`) || !strings.Contains(verdict, "CONTAINER_EXITED state") {
		t.Errorf("error %q", verdict)
	}
}
