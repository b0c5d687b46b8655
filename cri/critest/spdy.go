package critest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/moby/spdystream"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The wire of an attach, as k8s.io/cri-streaming speaks it:
//
//	client                                              server
//	POST /attach/TOKEN, Upgrade: SPDY/3.1,
//	  X-Stream-Protocol-Version: v5…, v4…  ──────────▶  403 + X-Accepted-Stream-Protocol-Versions, or
//	                                       ◀──────────  101, X-Stream-Protocol-Version: v4.channel.k8s.io
//	SYN_STREAM streamType: error           ──────────▶
//	SYN_STREAM streamType: stdin|stdout|…  ──────────▶  one each of what AttachRequest asked for, resize with a tty
//	DATA                                   ◀─────────▶
//	                                       ◀──────────  FIN on stdout and stderr, a status on error, GOAWAY, close
const (
	spdyVersion      = "SPDY/3.1"
	attachProtocol   = "v4.channel.k8s.io"
	protocolHeader   = "X-Stream-Protocol-Version"
	acceptedHeader   = "X-Accepted-Stream-Protocol-Versions"
	streamTypeHeader = "streamType"
	openingTimeout   = 30 * time.Second
)

// upgrade negotiates the protocol and takes the connection over. It has answered the client if it returns false.
func upgrade(w http.ResponseWriter, r *http.Request) (net.Conn, bool) {
	var asked []string
	for _, list := range r.Header.Values(protocolHeader) {
		for name := range strings.SplitSeq(list, ",") {
			asked = append(asked, strings.TrimSpace(name))
		}
	}
	switch {
	case len(asked) == 0:
		http.Error(w, "unable to upgrade: header "+protocolHeader+" does not exist in request", http.StatusBadRequest)
		return nil, false
	case !slices.Contains(asked, attachProtocol):
		w.Header().Set(acceptedHeader, attachProtocol)
		http.Error(w, fmt.Sprintf("unable to upgrade: unable to negotiate protocol: client supports %v, server accepts [%s]", asked, attachProtocol), http.StatusForbidden)
		return nil, false
	case !strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade") ||
		!strings.EqualFold(r.Header.Get("Upgrade"), spdyVersion):
		http.Error(w, "unable to upgrade: missing upgrade headers in request", http.StatusBadRequest)
		return nil, false
	}
	h := w.Header()
	h.Set(protocolHeader, attachProtocol)
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", spdyVersion)
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, false
	}
	return &bufferedConn{Conn: conn, r: buffered.Reader}, true
}

// bufferedConn reads first what the HTTP server had read ahead.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// streamSet is the SPDY streams of one attach, by type.
type streamSet struct {
	raw    net.Conn
	conn   *spdystream.Connection
	byType map[string]*spdystream.Stream
	done   chan struct{}
}

// openStreams waits until the client has opened what its request says.
func openStreams(raw net.Conn, req *runtimeapi.AttachRequest) (*streamSet, error) {
	conn, err := spdystream.NewConnection(raw, true)
	if err != nil {
		return nil, err
	}
	set := &streamSet{raw: raw, conn: conn, byType: map[string]*spdystream.Stream{}, done: make(chan struct{})}
	opened := make(chan *spdystream.Stream, 16)
	go conn.Serve(func(stream *spdystream.Stream) {
		if stream.SendReply(http.Header{}, false) == nil {
			select {
			case opened <- stream:
			default: // more than any protocol has
			}
		}
	})
	go func() {
		<-conn.CloseChan()
		close(set.done)
	}()
	want := []string{"error"}
	for kind, asked := range map[string]bool{
		"stdin": req.GetStdin(), "stdout": req.GetStdout(), "stderr": req.GetStderr(), "resize": req.GetTty(),
	} {
		if asked {
			want = append(want, kind)
		}
	}
	timeout := time.NewTimer(openingTimeout)
	defer timeout.Stop()
	for len(set.byType) < len(want) {
		select {
		case stream := <-opened:
			if kind := stream.Headers().Get(streamTypeHeader); slices.Contains(want, kind) {
				set.byType[kind] = stream
			}
		case <-set.done:
			return nil, errors.New("the client closed the connection before it opened its streams")
		case <-timeout.C:
			return nil, errors.New("the client did not open its streams in time")
		}
	}
	return set, nil
}

func (set *streamSet) attachment(o offer) *Attachment {
	a := &Attachment{
		Container: o.container, TTY: o.request.GetTty(),
		Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard,
		cut: func() { _ = set.raw.Close() }, done: set.done,
	}
	if stream := set.byType["stdin"]; stream != nil {
		a.Stdin = stream
	}
	if stream := set.byType["stdout"]; stream != nil {
		a.Stdout = stream
	}
	if stream := set.byType["stderr"]; stream != nil {
		a.Stderr = stream
	}
	if stream := set.byType["resize"]; stream != nil {
		sizes := make(chan TerminalSize)
		a.Resize = sizes
		go readSizes(stream, sizes, set.done)
	}
	return a
}

// finish tells the client how the attach ended and closes the connection, in the order of the real servers: output
// first, then the status, then whatever is still open is reset.
func (set *streamSet) finish(failure error) {
	verdict := map[string]any{"status": "Success"}
	if failure != nil {
		verdict = map[string]any{
			"status": "Failure", "reason": "InternalError", "code": http.StatusInternalServerError,
			"message": fmt.Sprintf("Internal error occurred: error attaching to container: %v", failure),
		}
	}
	for _, kind := range []string{"stdout", "stderr"} {
		if stream := set.byType[kind]; stream != nil {
			_ = stream.Close()
		}
	}
	if text, err := json.Marshal(verdict); err == nil {
		_, _ = set.byType["error"].Write(text)
	}
	_ = set.byType["error"].Close()
	for _, stream := range set.byType {
		_ = stream.Reset()
	}
	set.conn.SetCloseTimeout(time.Second)
	_ = set.conn.Close()
	<-set.done
}
