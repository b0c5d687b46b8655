package critest_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/cri/critest"
)

// named counts the containers that the runtime has under a name.
func named(t *testing.T, c runtimeapi.RuntimeServiceClient, name string) (n int) {
	t.Helper()
	resp, err := c.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range resp.GetContainers() {
		if c.GetMetadata().GetName() == name {
			n++
		}
	}
	return n
}

// TestCreateFaults: whatever the client hears, the container is there exactly when the effect took place.
func TestCreateFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		script func(r *critest.Rule)
		code   codes.Code
		left   int
	}{
		"fail":                    {func(r *critest.Rule) { r.Fail(codes.Unavailable, "not today") }, codes.Unavailable, 0},
		"hang":                    {func(r *critest.Rule) { r.Hang() }, codes.DeadlineExceeded, 0},
		"fail after the effect":   {func(r *critest.Rule) { r.AfterEffect().Fail(codes.Canceled, "lost") }, codes.Canceled, 1},
		"hang after the effect":   {func(r *critest.Rule) { r.AfterEffect().Hang() }, codes.DeadlineExceeded, 1},
		"delay past the deadline": {func(r *critest.Rule) { r.Delay(400 * time.Millisecond) }, codes.DeadlineExceeded, 1},
		"delay":                   {func(r *critest.Rule) { r.Delay(10 * time.Millisecond) }, codes.OK, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := critest.New(t)
			c := runtimeOf(t, s)
			tc.script(s.On("CreateContainer"))
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			_, err := c.CreateContainer(ctx, good(t, s, "dbg"))
			wantCode(t, err, tc.code, "")
			for end := time.Now().Add(5 * time.Second); named(t, c, "dbg") < tc.left && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond)
			}
			if n := named(t, c, "dbg"); n != tc.left {
				t.Errorf("%d containers, want %d", n, tc.left)
			}
			if n := len(s.Calls("CreateContainer")); n != 1 || s.Created()[0].GetConfig().GetMetadata().GetName() != "dbg" {
				t.Errorf("%d calls recorded: %v", n, s.Created())
			}
		})
	}
}

func TestRulesTakeTurns(t *testing.T) {
	s := critest.New(t)
	c := runtimeOf(t, s)
	s.On("Version").Times(2)
	s.On("Version").Fail(codes.Unavailable, "third").Times(1)
	s.On("Version").Fail(codes.Internal, "only of v9").When(func(req proto.Message) bool {
		return req.(*runtimeapi.VersionRequest).GetVersion() == "v9"
	})
	for i, want := range []codes.Code{codes.OK, codes.OK, codes.Unavailable, codes.OK} {
		_, err := c.Version(t.Context(), &runtimeapi.VersionRequest{})
		if got := status.Code(err); got != want {
			t.Errorf("call %d: %v, want %v", i, got, want)
		}
	}
	_, err := c.Version(t.Context(), &runtimeapi.VersionRequest{Version: "v9"})
	wantCode(t, err, codes.Internal, "only of v9")
}

func TestAfterAltersAnswers(t *testing.T) {
	s := critest.New(t)
	c := runtimeOf(t, s)
	s.On("ContainerStatus").After(func(_, resp proto.Message, err error) error {
		if err != nil {
			return status.Error(codes.Unknown, status.Convert(err).Message())
		}
		resp.(*runtimeapi.ContainerStatusResponse).Info = map[string]string{"info": "{not JSON"}
		return nil
	})
	s.On("PodSandboxStatus").After(func(_, _ proto.Message, err error) error { return nil }).Times(1)
	id := create(t, s, c, "dbg")
	resp, err := c.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil || resp.GetInfo()["info"] != "{not JSON" || resp.GetStatus().GetId() != id {
		t.Errorf("altered: %v, %v", resp, err)
	}
	_, err = c.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: "none"})
	wantCode(t, err, codes.Unknown, `container "none": not found`)
	empty, err := c.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: "none"})
	if err != nil || empty.GetStatus() != nil {
		t.Errorf("an error turned into success: %v, %v", empty, err)
	}
}

func TestHangEndsWithTheServer(t *testing.T) {
	s := critest.New(t)
	c := runtimeOf(t, s)
	s.On("StopContainer").Hang()
	failed := make(chan error, 1)
	go func() {
		_, err := c.StopContainer(context.Background(), &runtimeapi.StopContainerRequest{ContainerId: "x"})
		failed <- err
	}()
	for len(s.Calls("StopContainer")) == 0 {
		time.Sleep(time.Millisecond)
	}
	s.Down()
	wantCode(t, <-failed, codes.Unavailable, "")
}
