package cri

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/spdystream"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/yaml"

	"github.com/porthole-project/porthole/runtime"
)

// The remotecommand protocol that CRI streaming servers speak: a POST upgraded
// to SPDY/3.1, then one SPDY stream for each of error, resize, stdin, stdout
// and stderr, told apart by a header. (k8s.io/cri-streaming)
const (
	streamProtocol = "v4.channel.k8s.io"
	headerProtocol = "X-Stream-Protocol-Version"
	headerStream   = "streamType"
)

// attachment is one live attach. Its readers must always be read: a runtime
// has one lock over all of a container's readers and its log.
type attachment struct {
	conn   *spdystream.Connection
	failed *spdystream.Stream // carries an error of the runtime, or nothing
	resize *spdystream.Stream
	stdin  *spdystream.Stream
	stdout *spdystream.Stream
	stderr *spdystream.Stream
	once   sync.Once
}

// attach asks the runtime for the container's streams. The container must be
// running: containerd refuses before, and after.
func (c *Client) attach(ctx context.Context, id string, stdin, tty bool) (*attachment, error) {
	ask, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.runtime.Attach(ask, &runtimeapi.AttachRequest{ContainerId: id, Stdin: stdin, Tty: tty, Stdout: true, Stderr: !tty})
	if err != nil {
		return nil, fmt.Errorf("attach to container %.13s: %w", id, classify(err))
	}
	conn, err := upgrade(ask, answer.GetUrl())
	if err != nil {
		return nil, fmt.Errorf("attach to container %.13s: stream %s: %w", id, answer.GetUrl(), err)
	}
	a, err := openStreams(ask, conn, stdin, tty)
	if err != nil {
		return nil, fmt.Errorf("attach to container %.13s: %w", id, err)
	}
	return a, nil
}

// upgrade dials the streaming server and turns the connection into SPDY.
func upgrade(ctx context.Context, address string) (net.Conn, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	conn, err := dialStream(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("%w (the agent must share the host's network)", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), http.NoBody)
	if err != nil {
		return nil, closeAfter(conn, err)
	}
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", "SPDY/3.1")
	request.Header.Set(headerProtocol, streamProtocol)
	if err := request.Write(conn); err != nil {
		return nil, closeAfter(conn, err)
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, request) //nolint:bodyclose // the connection itself is closed, or becomes the stream
	if err != nil {
		return nil, closeAfter(conn, err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get(headerProtocol) != streamProtocol {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 512))
		return nil, closeAfter(conn, fmt.Errorf("no upgrade to SPDY with %s: %s %s: %w", streamProtocol, response.Status, text, errdefs.ErrUnavailable))
	}
	_ = conn.SetDeadline(time.Time{})
	return &bufferedConn{Conn: conn, reader: reader}, nil
}

func dialStream(ctx context.Context, u *url.URL) (net.Conn, error) {
	var dialer net.Dialer
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), map[string]string{"https": "443"}[u.Scheme])
	}
	if u.Scheme != "https" {
		return dialer.DialContext(ctx, "tcp", host)
	}
	// A runtime that serves streams over TLS signs its own certificate. On
	// loopback there is nobody between us and it; elsewhere it must verify.
	address := net.ParseIP(u.Hostname())
	secure := tls.Dialer{NetDialer: &dialer, Config: &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: address != nil && address.IsLoopback(),
	}}
	return secure.DialContext(ctx, "tcp", host)
}

// bufferedConn gives back what the HTTP reader read too far.
type bufferedConn struct {
	net.Conn
	reader *bufio.Reader
}

func (b *bufferedConn) Read(p []byte) (int, error) { return b.reader.Read(p) }

func openStreams(ctx context.Context, conn net.Conn, stdin, tty bool) (*attachment, error) {
	spdy, err := spdystream.NewConnection(conn, false)
	if err != nil {
		return nil, closeAfter(conn, err)
	}
	go spdy.Serve(spdystream.NoOpStreamHandler)
	a := &attachment{conn: spdy}
	type stream struct {
		name string
		into **spdystream.Stream
	}
	wanted := []stream{{"error", &a.failed}, {"stdout", &a.stdout}}
	if stdin {
		wanted = append(wanted, stream{"stdin", &a.stdin})
	}
	if tty {
		wanted = append(wanted, stream{"resize", &a.resize})
	} else {
		wanted = append(wanted, stream{"stderr", &a.stderr})
	}
	for _, want := range wanted {
		if *want.into, err = spdy.CreateStream(http.Header{headerStream: {want.name}}, nil, false); err != nil {
			a.close()
			return nil, fmt.Errorf("open stream %s: %w", want.name, err)
		}
	}
	// All are asked for before the first answer is waited for: each round trip
	// is output that only the log will tell.
	for _, want := range wanted {
		if err := waitStream(ctx, *want.into); err != nil {
			a.close()
			return nil, fmt.Errorf("open stream %s: %w", want.name, err)
		}
	}
	return a, nil
}

func waitStream(ctx context.Context, stream *spdystream.Stream) error {
	limit := 10 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline)
	}
	return stream.WaitTimeout(limit)
}

func closeAfter(conn net.Conn, err error) error {
	_ = conn.Close()
	return err
}

// close cuts the connection; readers get EOF or an error.
func (a *attachment) close() {
	a.once.Do(func() { _ = a.conn.Close() })
}

// pump reads a stream until it ends.
func pump(stream *spdystream.Stream, take func([]byte)) {
	buf := make([]byte, 32<<10)
	for {
		n, err := stream.Read(buf)
		if n > 0 {
			take(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// verdict reads what the runtime says of the attach itself once it is over:
// nothing, or an error as text or as a Kubernetes status.
func (a *attachment) verdict() string {
	text, _ := io.ReadAll(io.LimitReader(a.failed, 64<<10))
	var status struct{ Status, Message string }
	if yaml.Unmarshal(text, &status) == nil && status.Status == "Success" {
		return ""
	}
	return string(text)
}

// setSize tells the runtime the terminal's size.
func (a *attachment) setSize(size runtime.Size) error {
	doc := `{"Width":` + strconv.Itoa(int(size.Width)) + `,"Height":` + strconv.Itoa(int(size.Height)) + "}"
	_, err := io.WriteString(a.resize, doc)
	return err
}
