package node

import (
	"net"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// frame is a message that is passed on as it is.
type frame struct{ bytes []byte }

// rawCodec leaves frames alone.
type rawCodec struct{}

func (rawCodec) Name() string                  { return "proto" }
func (rawCodec) Marshal(v any) ([]byte, error) { return v.(*frame).bytes, nil }
func (rawCodec) Unmarshal(b []byte, v any) error {
	v.(*frame).bytes = append([]byte(nil), b...)
	return nil
}

// proxy stands between the binary and the runtime, and keeps what it was asked.
type proxy struct {
	endpoint string
	mu       sync.Mutex
	creates  [][]byte // CreateContainerRequests as sent
	methods  []string
}

// proxy starts one before the node's socket.
func (e *env) proxy() *proxy {
	e.Helper()
	path := filepath.Join(e.TempDir(), "p.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		e.Fatal(err)
	}
	conn, err := grpc.NewClient(e.node.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{}), grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		e.Fatal(err)
	}
	p := &proxy{endpoint: "unix://" + path}
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		var request, answer frame
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		p.note(method, request.bytes)
		if err := conn.Invoke(stream.Context(), method, &request, &answer); err != nil {
			return err
		}
		return stream.SendMsg(&answer)
	}))
	go func() { _ = server.Serve(l) }()
	e.Cleanup(func() {
		server.Stop()
		_ = conn.Close()
	})
	return p
}

func (p *proxy) note(method string, request []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.methods = append(p.methods, filepath.Base(method))
	if filepath.Base(method) == "CreateContainer" {
		p.creates = append(p.creates, request)
	}
}

// created returns the one request for a container that went through.
func (e *env) created(p *proxy) *runtimeapi.CreateContainerRequest {
	e.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.creates) != 1 {
		e.Fatalf("%d CreateContainer requests, want one", len(p.creates))
	}
	request := &runtimeapi.CreateContainerRequest{}
	if err := proto.Unmarshal(p.creates[0], request); err != nil {
		e.Fatal(err)
	}
	return request
}
