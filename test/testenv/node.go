package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// namespace is containerd's namespace for everything made through CRI.
	namespace = "k8s.io"
	// pollInterval is how often a state that has no event is looked at.
	pollInterval = 10 * time.Millisecond
	// readyTimeout is how long containerd may take to serve CRI.
	readyTimeout = 30 * time.Second
	// maxDir keeps the socket of a 2.4 shim, which containerd names by 64 hex
	// digits, below the 108 bytes that a unix socket path may have.
	maxDir = 40
)

// Options says which node to start and where.
type Options struct {
	// Version of containerd; required.
	Version Version
	// Dir is where the node keeps everything. It must be absolute, at most 40
	// characters long, and empty or absent; Stop removes it. Empty means a new
	// directory under os.TempDir.
	Dir string
	// Log receives containerd's log as it is written, besides the file
	// containerd.log in Dir. It may be nil.
	Log io.Writer
}

// Node is a running private containerd. Its methods may be called from several
// goroutines, except Restart, Kill and Stop, which exclude each other.
type Node struct {
	version    Version
	record     record
	lock       *os.File // of the record, held until Stop
	layout     layout
	bin        binaries
	log        io.Writer
	conn       *grpc.ClientConn
	runtime    runtimeapi.RuntimeServiceClient
	images     runtimeapi.ImageServiceClient
	containerd *client.Client

	mu     sync.Mutex // guards daemon
	daemon *Daemon
}

// Start sweeps what dead nodes left, starts containerd and returns when it
// answers CRI requests and has the images. On an error nothing is left behind.
// The caller ends the node with Stop; ctx only bounds the start.
func Start(ctx context.Context, opts Options) (*Node, error) {
	bin, err := opts.Version.binaries()
	if err != nil {
		return nil, err
	}
	n := &Node{version: opts.Version, bin: bin, log: opts.Log}
	if err := n.start(ctx, opts.Dir); err != nil {
		err = fmt.Errorf("test node containerd %s: %w%s", opts.Version, err, n.logTail())
		return nil, errors.Join(err, n.Stop())
	}
	return n, nil
}

// start does what Start says and leaves it to Stop to undo a part of it.
func (n *Node) start(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var group errgroup.Group
	group.Go(func() error {
		_, err := imageArchive()
		return err
	})
	net, err := n.claim(ctx, dir)
	if err != nil {
		return err
	}
	if err := n.layout.write(n.version, n.bin, net); err != nil {
		return err
	}
	if n.daemon, err = startContainerd(n.layout, n.bin, n.log); err != nil {
		return err
	}
	if err := n.dial(); err != nil {
		return err
	}
	if err := n.ready(ctx); err != nil {
		return err
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return n.loadImages(ctx)
}

// claim registers the node and makes its directories, cgroup and bridge, all
// under the registry lock.
func (n *Node) claim(ctx context.Context, dir string) (network, error) {
	lock, err := lockRegistry()
	if err != nil {
		return network{}, err
	}
	defer lock.Close()
	if err := sweep(ctx); err != nil {
		return network{}, err
	}
	id := newID()
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "porthole-"+id)
	}
	if err := checkDir(dir); err != nil {
		return network{}, err
	}
	r := record{ID: id, Dir: filepath.Clean(dir)}
	if n.lock, err = r.register(); err != nil {
		return network{}, err
	}
	n.record, n.layout = r, layout{r.Dir}
	if err := n.layout.make(); err != nil {
		return network{}, err
	}
	if err := makeCgroups(r.cgroup()); err != nil {
		return network{}, err
	}
	return makeNetwork(ctx, id)
}

// checkDir refuses a directory that is too long for sockets or holds anything:
// Stop removes it with all its content.
func checkDir(dir string) error {
	if !filepath.IsAbs(dir) || len(dir) > maxDir {
		return fmt.Errorf("node directory %s: it must be absolute and at most %d characters long: %w", dir, maxDir, errdefs.ErrInvalidArgument)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("node directory: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("node directory %s is not empty: %w", dir, errdefs.ErrAlreadyExists)
	}
	return nil
}

// dial makes the one connection that CRI and containerd's own API share.
func (n *Node) dial() error {
	conn, err := grpc.NewClient(n.Endpoint(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return invoke(inNamespace(ctx), method, req, reply, cc, opts...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return stream(inNamespace(ctx), desc, cc, method, opts...)
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: pollInterval, Multiplier: 1.2, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return err
	}
	n.conn = conn
	n.runtime = runtimeapi.NewRuntimeServiceClient(conn)
	n.images = runtimeapi.NewImageServiceClient(conn)
	n.containerd, err = client.NewWithConn(conn, client.WithDefaultNamespace(namespace))
	return err
}

// inNamespace names containerd's namespace in calls that name none. The client
// would do so itself only on a connection that it makes.
func inNamespace(ctx context.Context) context.Context {
	if _, ok := namespaces.Namespace(ctx); ok {
		return ctx
	}
	return namespaces.WithNamespace(ctx, namespace)
}

// ready waits until CRI says that runtime and network are ready.
func (n *Node) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		answered, err := n.conditions(ctx)
		if err == nil {
			return nil
		}
		if !n.daemon.Running() {
			return fmt.Errorf("containerd ended: %w", errors.Join(n.daemon.err, errdefs.ErrUnavailable))
		}
		if pause(ctx, pollInterval) != nil {
			return fmt.Errorf("CRI is not ready after %s (answered: %t): %w", readyTimeout, answered, err)
		}
	}
}

// conditions asks CRI for its conditions, and whether it answered at all.
func (n *Node) conditions(ctx context.Context) (answered bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	resp, err := n.runtime.Status(ctx, &runtimeapi.StatusRequest{})
	if err != nil {
		return false, err
	}
	for _, c := range resp.GetStatus().GetConditions() {
		if !c.GetStatus() && (c.GetType() == runtimeapi.RuntimeReady || c.GetType() == runtimeapi.NetworkReady) {
			return true, fmt.Errorf("%s is false: %s: %w", c.GetType(), c.GetMessage(), errdefs.ErrUnavailable)
		}
	}
	return true, nil
}

// Restart ends containerd with sig, waits for its end, starts it again on the
// same directories and returns when CRI is ready. Pods live on.
func (n *Node) Restart(ctx context.Context, sig os.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.daemon.End(sig, cleanTimeout)
	d, err := startContainerd(n.layout, n.bin, n.log)
	if err != nil {
		return err
	}
	n.daemon = d
	n.conn.ResetConnectBackoff()
	if err := n.ready(ctx); err != nil {
		return fmt.Errorf("restart containerd: %w%s", err, n.logTail())
	}
	return nil
}

// Kill ends containerd with SIGKILL and leaves it dead, with its shims and
// pods alive. Restart brings it back.
func (n *Node) Kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.daemon.End(syscall.SIGKILL, cleanTimeout)
}

// Pause stops containerd with SIGSTOP: it accepts connections and answers
// nothing until Resume. Pods run on. It returns when every thread has stopped.
func (n *Node) Pause() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.daemon.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanTimeout)
	defer cancel()
	for !allStopped(n.daemon.PID()) {
		if err := pause(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("containerd %d does not stop: %w", n.daemon.PID(), err)
		}
	}
	return nil
}

// Resume undoes Pause.
func (n *Node) Resume() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.daemon.signal(syscall.SIGCONT)
}

// Stop kills containerd, its shims and all pods, and removes every trace of
// the node: mounts, cgroups, bridge, files. It works whatever state containerd
// is in. A second call does nothing.
func (n *Node) Stop() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lock == nil {
		return nil // never claimed, or stopped before
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*cleanTimeout)
	defer cancel()
	if n.daemon != nil {
		n.daemon.End(syscall.SIGKILL, cleanTimeout)
	}
	var closed error
	if n.conn != nil {
		closed = n.conn.Close()
	}
	if err := n.record.clean(ctx); err != nil {
		return errors.Join(fmt.Errorf("stop node %s: %w", n.record.ID, err), closed)
	}
	err := errors.Join(n.lock.Close(), closed)
	n.lock = nil
	return err
}

// logTail returns the end of containerd's log for an error message.
func (n *Node) logTail() string {
	if n.layout.dir == "" {
		return ""
	}
	text, err := os.ReadFile(n.layout.log())
	if err != nil || len(text) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "\ncontainerd log:\n" + strings.Join(lines[max(0, len(lines)-15):], "\n")
}
