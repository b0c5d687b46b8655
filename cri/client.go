package cri

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxMessage is kubelet's limit for one answer of the runtime.
const maxMessage = 16 << 20

// Limits are the deadlines of unary calls.
type Limits struct {
	Call   time.Duration // questions, stop and remove
	Create time.Duration // create and start, which may wait for the node's disk
	Pull   time.Duration // pulling an image
}

// DefaultLimits are kubelet's own (runtimeRequestTimeout is two minutes), but
// for questions, which a healthy runtime answers in milliseconds.
func DefaultLimits() Limits {
	return Limits{Call: 10 * time.Second, Create: 2 * time.Minute, Pull: 10 * time.Minute}
}

// Client is a connection to one CRI runtime. It is safe for concurrent use.
type Client struct {
	endpoint string
	limits   Limits
	conns    []*grpc.ClientConn
	runtime  runtimeapi.RuntimeServiceClient
	images   runtimeapi.ImageServiceClient

	// Starter, if set, creates and starts containers in another process.
	Starter *Starter

	// Name and Version are the runtime's own words.
	Name, Version string
}

func dialOne(ctx context.Context, endpoint, imageEndpoint string, limits Limits) (*Client, error) {
	c := &Client{endpoint: endpoint, limits: limits}
	conn, err := c.connect(endpoint)
	if err != nil {
		return nil, err
	}
	c.runtime = runtimeapi.NewRuntimeServiceClient(conn)
	c.images = runtimeapi.NewImageServiceClient(conn)
	if imageEndpoint != "" && imageEndpoint != endpoint {
		if conn, err = c.connect(imageEndpoint); err != nil {
			return nil, errors.Join(fmt.Errorf("image endpoint %s: %s", imageEndpoint, reason(err)), c.Close())
		}
		c.images = runtimeapi.NewImageServiceClient(conn)
	}
	// A hung runtime must not hang the search for one.
	ctx, cancel := context.WithTimeout(ctx, min(limits.Call, 2*time.Second))
	defer cancel()
	v, err := c.runtime.Version(ctx, &runtimeapi.VersionRequest{})
	if err != nil {
		err = classify(err)
		if errors.Is(err, errdefs.ErrNotImplemented) {
			err = fmt.Errorf("listens, but is not a CRI v1 runtime: %w", errdefs.ErrNotImplemented)
		}
		return nil, errors.Join(err, c.Close())
	}
	c.Name, c.Version = v.GetRuntimeName(), v.GetRuntimeVersion()
	return c, nil
}

func (c *Client) connect(endpoint string) (*grpc.ClientConn, error) {
	path := strings.TrimPrefix(endpoint, "unix://")
	// gRPC reports a missing socket only after it has waited for it.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() != os.ModeSocket {
		return nil, errors.New("not a socket")
	}
	dialer := func(ctx context.Context, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	conn, err := grpc.NewClient("passthrough:///cri",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dialer),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, err
	}
	c.conns = append(c.conns, conn)
	return conn, nil
}

// Close ends the connections. Containers live on.
func (c *Client) Close() error {
	var errs []error
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// Endpoint is the runtime's socket as unix:///PATH.
func (c *Client) Endpoint() string { return c.endpoint }

// String names the runtime for people.
func (c *Client) String() string { return fmt.Sprintf("%s %s (%s)", c.Name, c.Version, c.endpoint) }

// call gives a question its deadline.
func (c *Client) call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.limits.Call)
}

// settle gives a change its deadline and detaches it from the caller, whose
// death must not leave the runtime's answer unheard: a CreateContainer that was
// cancelled leaves a container behind whose ID nobody knows.
func (c *Client) settle(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}
