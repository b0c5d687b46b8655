package critest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Server is one CRI runtime. All of its methods, and those of what it hands out, are safe for concurrent use.
type Server struct {
	t       testing.TB
	dir     string
	rec     *Recording
	flavor  Flavor
	journal journal
	rules   ruleSet
	streams *streamServer
	stopped chan struct{} // closed when the test ends

	mu     sync.Mutex // guards what follows, and the state of every Container
	grpc   *grpc.Server
	served chan struct{} // closed when grpc serves no more
	node   node
	hooks  hooks
}

// hooks are the parts of a runtime's work that a test does itself.
type hooks struct {
	start         func(*Container) (pid int, err error)
	attach        func(*Attachment)
	targetIgnored bool
	registry      map[string]bool
}

// Option sets a Server up before it answers anything.
type Option func(*Server)

// WithRecording makes the server the recorded runtime on its recorded node. The default is containerd-2.4.2.
func WithRecording(rec *Recording) Option { return func(s *Server) { s.rec = rec } }

// WithRegistry names image references that PullImage finds. Without it the registry is unreachable, as recorded; a
// pulled image becomes a copy of the first recorded one under the new name.
func WithRegistry(refs ...string) Option {
	return func(s *Server) {
		for _, ref := range refs {
			s.hooks.registry[ref] = true
		}
	}
}

// WithTargetIgnored makes a runtime that accepts pid mode TARGET and then does not join the target: the container's
// spec has a pid namespace of its own, and its process, unless OnStart gives another, is a real child in new
// namespaces (a user namespace too when the test is not root). StartContainer fails where the kernel forbids that.
func WithTargetIgnored() Option { return func(s *Server) { s.hooks.targetIgnored = true } }

// New starts a runtime that lives until the test ends; a server that cannot start ends the test.
func New(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s := &Server{t: t, stopped: make(chan struct{})}
	s.hooks.registry = map[string]bool{}
	for _, opt := range opts {
		opt(s)
	}
	if s.rec == nil {
		s.rec = Load(t, "containerd-2.4.2")
	}
	var err error
	// Not t.TempDir: the name of a test may push the socket's path over the kernel's 108 bytes.
	if s.dir, err = os.MkdirTemp("", "critest"); err != nil { //nolint:usetesting // a socket's path must be short
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(s.dir) })
	if s.rec, err = s.rec.moved(recordedLogRoot, s.LogRoot()); err != nil {
		t.Fatal(err)
	}
	s.flavor = s.rec.Flavor()
	if s.node, err = s.replay(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.LogRoot(), 0o755); err != nil {
		t.Fatal(err)
	}
	if s.streams, err = newStreamServer(s); err != nil {
		t.Fatal(err)
	}
	s.Up()
	t.Cleanup(s.stop)
	return s
}

// recordedLogRoot is where the recorded nodes keep pod logs.
const recordedLogRoot = "/var/log/pods"

// Endpoint returns the CRI endpoint, unix:///…; it stays the same over Down and Up.
func (s *Server) Endpoint() string { return "unix://" + s.socket() }

func (s *Server) socket() string { return filepath.Join(s.dir, "cri.sock") }

// LogRoot returns the directory that is this node's /var/log/pods. Every recorded path below that one was moved
// here, in requests and answers alike.
func (s *Server) LogRoot() string { return filepath.Join(s.dir, "pods") }

// Recording returns what the server replays, with the paths that were moved to LogRoot.
func (s *Server) Recording() *Recording { return s.rec }

// Flavor returns whose manners the server has.
func (s *Server) Flavor() Flavor { return s.flavor }

// Down makes the runtime unreachable, as a restart does: the socket is gone, calls in flight fail with Unavailable,
// attached streams end, containers run on. It returns when all that is done.
func (s *Server) Down() {
	s.mu.Lock()
	server, served := s.grpc, s.served
	s.grpc = nil
	s.mu.Unlock()
	if server != nil {
		server.Stop()
		<-served // one that was stopped before it began to serve closes its socket only then
	}
	s.streams.cutAll()
}

// Up makes the runtime reachable again after Down, with all its state. It does nothing to a server that is up.
func (s *Server) Up() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grpc != nil {
		return
	}
	listener, err := net.Listen("unix", s.socket())
	if err != nil {
		s.t.Errorf("critest does not come up: %v", err)
		return
	}
	server := grpc.NewServer(grpc.WaitForHandlers(true), grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.stream))
	runtimeapi.RegisterRuntimeServiceServer(server, &runtimeService{s: s})
	runtimeapi.RegisterImageServiceServer(server, &imageService{s: s})
	s.grpc = server
	served := make(chan struct{})
	s.served = served
	go func() {
		defer close(served)
		if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.t.Errorf("critest server: %v", err)
		}
	}()
}

// stop ends everything that the server started, the children of containers included.
func (s *Server) stop() {
	close(s.stopped)
	s.Down()
	s.streams.stop()
	s.mu.Lock()
	containers := s.node.containers
	s.mu.Unlock()
	for _, c := range containers {
		c.end()
	}
}

// OnStart lets start be the process of every container that is started from now on: StartContainer calls it, reports
// the pid in verbose info, and fails with the error if there is one. [Process] is a start that runs a real child. A
// start that makes its own arrangements watches Container.Done to end them, and calls Container.Exit when its
// process does.
func (s *Server) OnStart(start func(c *Container) (pid int, err error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks.start = start
}

// OnAttach lets serve be the container's side of every stream that is attached from now on. The streams end when it
// returns. Without it an attachment is silent, and ends with its container.
func (s *Server) OnAttach(serve func(a *Attachment)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks.attach = serve
}

// Container returns the container with this ID or unambiguous prefix of one, nil when there is none.
func (s *Server) Container(id string) *Container {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, _ := s.node.container(id)
	return c
}
