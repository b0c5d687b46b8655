package critest

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Attachment is the container's side of one attached client.
type Attachment struct {
	Container *Container
	TTY       bool
	Stdin     io.Reader           // at its end at once if the client asked for none
	Stdout    io.Writer           // discards if the client asked for none
	Stderr    io.Writer           // discards if the client asked for none, as with a TTY
	Resize    <-chan TerminalSize // nil without a TTY; closed when the client closes that stream

	cut  func()
	done chan struct{}
}

// TerminalSize is what a client sends on the resize stream, in cells.
type TerminalSize struct{ Width, Height uint16 }

// Done is closed when the connection is gone, by whoever's doing.
func (a *Attachment) Done() <-chan struct{} { return a.done }

// Cut closes the TCP connection under the streams, as the death of the runtime does: no stream is closed first, and
// the client hears nothing about success.
func (a *Attachment) Cut() { a.cut() }

// streamServer is the runtime's streaming endpoint on loopback.
type streamServer struct {
	s       *Server
	http    *http.Server
	base    string
	serving sync.WaitGroup

	mu     sync.Mutex
	closed bool
	offers map[string]offer // by token
	conns  map[net.Conn]bool
}

// offer is an Attach that was answered and not yet used.
type offer struct {
	container *Container
	request   *runtimeapi.AttachRequest
}

func newStreamServer(s *Server) (*streamServer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	st := &streamServer{
		s: s, base: "http://" + listener.Addr().String() + attachPath,
		offers: map[string]offer{}, conns: map[net.Conn]bool{},
	}
	st.http = &http.Server{Handler: http.HandlerFunc(st.serve), ReadHeaderTimeout: time.Minute}
	go func() { _ = st.http.Serve(listener) }()
	return st, nil
}

const attachPath = "/attach/"

// offer returns a URL that attaches to the container once.
func (st *streamServer) offer(c *Container, req *runtimeapi.AttachRequest) string {
	token := rand.Text()[:8]
	st.mu.Lock()
	defer st.mu.Unlock()
	st.offers[token] = offer{container: c, request: req}
	return st.base + token
}

func (st *streamServer) take(token string) (offer, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	o, ok := st.offers[token]
	delete(st.offers, token)
	return o, ok
}

// cutAll ends every connection and forgets every offer.
func (st *streamServer) cutAll() {
	st.mu.Lock()
	defer st.mu.Unlock()
	clear(st.offers)
	for conn := range st.conns {
		_ = conn.Close()
	}
}

// stop ends the endpoint and waits for the attach hooks, which see Done closed.
func (st *streamServer) stop() {
	_ = st.http.Close()
	st.mu.Lock()
	st.closed = true
	st.mu.Unlock()
	st.cutAll()
	over := make(chan struct{})
	go func() {
		st.serving.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(10 * time.Second):
		st.s.t.Error("critest: an OnAttach hook did not return within 10s after its connection was closed")
	}
}

// serve is one attach from its HTTP request to its end.
func (st *streamServer) serve(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.URL.Path, attachPath)
	o, offered := st.take(token)
	if !ok || !offered || (r.Method != http.MethodPost && r.Method != http.MethodGet) {
		http.NotFound(w, r)
		return
	}
	refusal := st.notRunning(o.container) // the client hears of it on the error stream, so not before it has one
	conn, ok := upgrade(w, r)
	if !ok {
		return
	}
	defer conn.Close()
	if !st.enter(conn) {
		return
	}
	defer st.leave(conn)
	streams, err := openStreams(conn, o.request)
	if err != nil { // the client left before it opened its streams
		return
	}
	if refusal == nil {
		st.hook()(streams.attachment(o))
	}
	streams.finish(refusal)
}

// enter makes the connection one that cutAll cuts and stop waits for, unless the server has stopped.
func (st *streamServer) enter(conn net.Conn) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return false
	}
	st.conns[conn] = true
	st.serving.Add(1)
	return true
}

func (st *streamServer) leave(conn net.Conn) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.conns, conn)
	st.serving.Done()
}

// notRunning is what the runtime has against an attach to the container now.
func (st *streamServer) notRunning(c *Container) error {
	state := c.State()
	if state == runtimeapi.ContainerState_CONTAINER_RUNNING {
		return nil
	}
	if err := st.s.flavor.refuse(attachNotRunning, "state", state.String()); err != nil {
		return errors.New(status.Convert(err).Message())
	}
	return nil
}

func (st *streamServer) hook() func(*Attachment) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if st.s.hooks.attach == nil {
		return silent
	}
	return st.s.hooks.attach
}

// silent is a container that reads all and says nothing.
func silent(a *Attachment) {
	go func() { _, _ = io.Copy(io.Discard, a.Stdin) }()
	select {
	case <-a.Container.Done():
	case <-a.Done():
	}
}

// readSizes decodes the resize stream until its end.
func readSizes(stream io.Reader, sizes chan<- TerminalSize, done <-chan struct{}) {
	defer close(sizes)
	for dec := json.NewDecoder(stream); ; {
		var size TerminalSize
		if dec.Decode(&size) != nil {
			return
		}
		select {
		case sizes <- size:
		case <-done:
			return
		}
	}
}
