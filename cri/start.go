package cri

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/runtime"
)

// started is how far one CreateContainer and StartContainer came.
type started struct {
	ID   string `json:"id,omitempty"` // set once it is created
	Step string `json:"step"`         // create or start, whichever was the last
	// Code and Message are those of the gRPC status; Code 0 is success.
	Code    codes.Code `json:"code"`
	Message string     `json:"message,omitempty"`
}

func (s started) err() error { return status.Error(s.Code, s.Message) }

// createAndStart makes both calls, detached from ctx but for its values.
func createAndStart(ctx context.Context, api runtimeapi.RuntimeServiceClient, o order, request *runtimeapi.CreateContainerRequest) started {
	ctx = context.WithoutCancel(ctx)
	create, cancelCreate := context.WithTimeout(ctx, o.Limit)
	defer cancelCreate()
	answer, err := api.CreateContainer(create, request)
	s := started{Step: "create"}
	if err == nil && o.Claim {
		err = claim(create, api, answer.GetContainerId(), request)
	}
	if err == nil {
		s.ID, s.Step = answer.GetContainerId(), "start"
		start, cancelStart := context.WithTimeout(ctx, o.Limit)
		defer cancelStart()
		_, err = api.StartContainer(start, &runtimeapi.StartContainerRequest{ContainerId: s.ID})
	}
	st := status.Convert(err)
	s.Code, s.Message = st.Code(), st.Message()
	return s
}

// claim makes sure that the ID which a create call answered with is this
// session's. CRI-O answers with the container that has the name already, where
// containerd refuses: that one may be another's session, which is neither to be
// started nor to be removed.
func claim(ctx context.Context, api runtimeapi.RuntimeServiceClient, id string, request *runtimeapi.CreateContainerRequest) error {
	answer, err := api.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		return err // it will be found by its label
	}
	if answer.GetStatus().GetLabels()[runtime.LabelSession] != request.GetConfig().GetLabels()[runtime.LabelSession] {
		return status.Errorf(codes.AlreadyExists, "the name is taken by container %.13s; choose another", id)
	}
	return nil
}

// Starter makes the two calls in a process of its own. containerd takes the
// death of a client in the middle of StartContainer for a wish to cancel; what
// remains can be a container whose task it forgets, which nobody can remove over
// the CRI any more, nor the pod around it. So the calls are made by a process
// that does not die with the user's.
type Starter struct {
	// In and Out are the streams of a process that runs [ServeStart]. Closing In
	// without having written to it ends that process.
	In  io.WriteCloser
	Out io.Reader
}

// order precedes the request, as a line of JSON.
type order struct {
	Endpoint string        `json:"endpoint"`
	Limit    time.Duration `json:"limit"` // of each call
	Claim    bool          `json:"claim"` // whether the ID answered must be checked
}

// start asks the process and waits for its answer.
func (s *Starter) start(o order, request *runtimeapi.CreateContainerRequest) (started, error) {
	head, err := json.Marshal(o)
	if err != nil {
		return started{}, err
	}
	body, err := proto.Marshal(request)
	if err != nil {
		return started{}, err
	}
	if _, err := s.In.Write(append(append(head, '\n'), body...)); err != nil {
		return started{}, fmt.Errorf("hand the start over: %w", err)
	}
	if err := s.In.Close(); err != nil {
		return started{}, fmt.Errorf("hand the start over: %w", err)
	}
	var answer started
	if err := json.NewDecoder(s.Out).Decode(&answer); err != nil {
		return started{}, fmt.Errorf("the process that starts the container has ended without an answer (%w): %w", err, errdefs.ErrUnavailable)
	}
	return answer, nil
}

// ServeStart is the other side: it reads one order and carries it out, whether
// or not there is still somebody who wants the answer. An input that ends before
// the order is no error.
func ServeStart(ctx context.Context, in io.Reader, out io.Writer) error {
	data, err := io.ReadAll(io.LimitReader(in, 2*maxMessage))
	if err != nil || len(data) == 0 {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	var o order
	if err := decoder.Decode(&o); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	request := &runtimeapi.CreateContainerRequest{}
	if err := proto.Unmarshal(data[decoder.InputOffset()+1:], request); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	c := &Client{endpoint: o.Endpoint}
	conn, err := c.connect(o.Endpoint)
	if err != nil {
		return err
	}
	defer c.Close()
	answer := createAndStart(ctx, runtimeapi.NewRuntimeServiceClient(conn), o, request)
	return json.NewEncoder(out).Encode(answer)
}
