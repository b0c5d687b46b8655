package critest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/cri/critest"
)

func dial(t *testing.T, s *critest.Server) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(s.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func runtimeOf(t *testing.T, s *critest.Server) runtimeapi.RuntimeServiceClient {
	t.Helper()
	return runtimeapi.NewRuntimeServiceClient(dial(t, s))
}

// flavors runs a test against both runtimes.
func flavors(t *testing.T, test func(t *testing.T, s *critest.Server)) {
	t.Helper()
	for _, name := range []string{"containerd-2.4.2", "crio-1.37"} {
		t.Run(name, func(t *testing.T) {
			test(t, critest.New(t, critest.WithRecording(critest.Load(t, name))))
		})
	}
}

// good returns the request that the recorded runtime accepted, under another name, with its log directory made.
func good(t *testing.T, s *critest.Server, name string) *runtimeapi.CreateContainerRequest {
	t.Helper()
	for _, row := range s.Recording().Rows() {
		if req, ok := row.Request.(*runtimeapi.CreateContainerRequest); ok && row.Why == "good" {
			req = proto.Clone(req).(*runtimeapi.CreateContainerRequest)
			req.Config.Metadata.Name = name
			req.Config.LogPath = name + "/0.log"
			mkdir(t, filepath.Join(req.GetSandboxConfig().GetLogDirectory(), name))
			return req
		}
	}
	t.Fatal("no good CreateContainer was recorded")
	return nil
}

// create makes a container from the good request.
func create(t *testing.T, s *critest.Server, c runtimeapi.RuntimeServiceClient, name string) string {
	t.Helper()
	resp, err := c.CreateContainer(t.Context(), good(t, s, name))
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetContainerId()
}

func start(t *testing.T, c runtimeapi.RuntimeServiceClient, id string) {
	t.Helper()
	if _, err := c.StartContainer(t.Context(), &runtimeapi.StartContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code codes.Code, part string) {
	t.Helper()
	if st := status.Convert(err); st.Code() != code || !strings.Contains(st.Message(), part) {
		t.Errorf("got %v %q, want %v with %q", st.Code(), st.Message(), code, part)
	}
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// method finds a CRI method by its short name, in either service.
func method(t *testing.T, name string) (full string, response proto.Message) {
	t.Helper()
	for _, service := range []string{"runtime.v1.RuntimeService", "runtime.v1.ImageService"} {
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
		if err != nil {
			continue
		}
		kind, err := protoregistry.GlobalTypes.FindMessageByName(found.(protoreflect.MethodDescriptor).Output().FullName())
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("/%s/%s", service, name), kind.New().Interface()
	}
	t.Fatalf("CRI has no method %q", name)
	return "", nil
}

func TestListsHonourFilters(t *testing.T) {
	flavors(t, func(t *testing.T, s *critest.Server) {
		c := runtimeOf(t, s)
		list := func(f *runtimeapi.ContainerFilter) []*runtimeapi.Container {
			t.Helper()
			resp, err := c.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{Filter: f})
			if err != nil {
				t.Fatal(err)
			}
			return resp.GetContainers()
		}
		all := list(nil)
		one := all[0]
		exited := &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_EXITED}
		in := func(keep func(*runtimeapi.Container) bool) (n int) {
			for _, c := range all {
				if keep(c) {
					n++
				}
			}
			return n
		}
		samePod := in(func(c *runtimeapi.Container) bool { return c.GetPodSandboxId() == one.GetPodSandboxId() })
		twice := "6" // begins two container IDs of containerd's, and two of CRI-O's begin with 4
		if s.Flavor() == critest.CRIO {
			twice = "4"
		}
		if n := in(func(c *runtimeapi.Container) bool { return strings.HasPrefix(c.GetId(), twice) }); n < 2 {
			t.Fatalf("%d containers have an ID with %q", n, twice)
		}
		for name, tc := range map[string]struct {
			filter *runtimeapi.ContainerFilter
			want   int
		}{
			"id":                {&runtimeapi.ContainerFilter{Id: one.GetId()}, 1},
			"id prefix":         {&runtimeapi.ContainerFilter{Id: one.GetId()[:12]}, 1},
			"ambiguous prefix":  {&runtimeapi.ContainerFilter{Id: twice}, 0},
			"unknown id":        {&runtimeapi.ContainerFilter{Id: strings.Repeat("0", 64)}, 0},
			"pod":               {&runtimeapi.ContainerFilter{PodSandboxId: one.GetPodSandboxId()}, samePod},
			"pod prefix":        {&runtimeapi.ContainerFilter{PodSandboxId: one.GetPodSandboxId()[:10]}, samePod},
			"unknown pod":       {&runtimeapi.ContainerFilter{PodSandboxId: strings.Repeat("0", 64)}, 0},
			"state":             {&runtimeapi.ContainerFilter{State: exited}, in(func(c *runtimeapi.Container) bool { return c.GetState() == exited.State })},
			"label":             {&runtimeapi.ContainerFilter{LabelSelector: map[string]string{"io.kubernetes.container.name": "app"}}, in(func(c *runtimeapi.Container) bool { return c.GetLabels()["io.kubernetes.container.name"] == "app" })},
			"label of nobody":   {&runtimeapi.ContainerFilter{LabelSelector: map[string]string{"io.kubernetes.container.name": ""}}, 0},
			"id and other pod":  {&runtimeapi.ContainerFilter{Id: one.GetId(), PodSandboxId: strings.Repeat("0", 64)}, 0},
			"everything at all": {&runtimeapi.ContainerFilter{}, len(all)},
		} {
			if got := len(list(tc.filter)); got != tc.want {
				t.Errorf("%s: %d containers, want %d", name, got, tc.want)
			}
		}
		pods, err := c.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{
			Id: one.GetPodSandboxId()[:10], State: &runtimeapi.PodSandboxStateValue{}, LabelSelector: map[string]string{"io.kubernetes.pod.namespace": "default"},
		}})
		if err != nil || len(pods.GetItems()) != 1 {
			t.Errorf("pods by prefix, state and label: %v, %v", pods.GetItems(), err)
		}
	})
}

func TestStatusByPrefixAndVerbosity(t *testing.T) {
	flavors(t, func(t *testing.T, s *critest.Server) {
		c, images := runtimeOf(t, s), runtimeapi.NewImageServiceClient(dial(t, s))
		all, err := c.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{})
		if err != nil {
			t.Fatal(err)
		}
		one := all.GetContainers()[0]
		ctr, err := c.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: one.GetId()[:12]})
		if err != nil || ctr.GetStatus().GetId() != one.GetId() || ctr.GetInfo() != nil {
			t.Errorf("container by prefix, not verbose: %v, %v", ctr, err)
		}
		pod, err := c.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: one.GetPodSandboxId()[:12], Verbose: true})
		if err != nil || pod.GetStatus().GetId() != one.GetPodSandboxId() || pod.GetInfo()["info"] == "" {
			t.Errorf("sandbox by prefix, verbose: %v, %v", pod, err)
		}
		if node, err := c.Status(t.Context(), &runtimeapi.StatusRequest{}); err != nil || node.GetInfo() != nil || len(node.GetStatus().GetConditions()) == 0 {
			t.Errorf("status, not verbose: %v, %v", node, err)
		}
		_, err = c.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{})
		wantCode(t, err, map[critest.Flavor]codes.Code{critest.Containerd: codes.Unknown, critest.CRIO: codes.NotFound}[s.Flavor()], "prefix can't be empty")
		for _, name := range []string{"localhost/busybox:1", one.GetImageId(), strings.TrimPrefix(one.GetImageId(), "sha256:")[:12]} {
			img, err := images.ImageStatus(t.Context(), &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: name}})
			if err != nil || img.GetImage().GetRepoTags()[0] != "localhost/busybox:1" || img.GetInfo() != nil {
				t.Errorf("image %q, not verbose: %v, %v", name, img, err)
			}
		}
	})
}

func TestRegistryNamesWhatCanBePulled(t *testing.T) {
	s := critest.New(t, critest.WithRegistry("localhost:5000/tools:2"))
	images := runtimeapi.NewImageServiceClient(dial(t, s))
	spec := func(ref string) *runtimeapi.ImageSpec { return &runtimeapi.ImageSpec{Image: ref} }
	pulled, err := images.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: spec("localhost:5000/tools:2")})
	if err != nil {
		t.Fatal(err)
	}
	st, err := images.ImageStatus(t.Context(), &runtimeapi.ImageStatusRequest{Image: spec("localhost:5000/tools:2")})
	if err != nil || st.GetImage().GetId() != pulled.GetImageRef() {
		t.Errorf("after the pull of %s: %s, %v", pulled.GetImageRef(), protojson.Format(st), err)
	}
	_, err = images.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: spec("registry.example/tools:2")})
	wantCode(t, err, codes.Unknown, "lookup registry.example: no such host")
	if _, err := images.RemoveImage(t.Context(), &runtimeapi.RemoveImageRequest{Image: spec("localhost:5000/tools:2")}); err != nil {
		t.Error(err)
	}
	left, err := images.ListImages(t.Context(), &runtimeapi.ListImagesRequest{})
	if err != nil || len(left.GetImages()) != 3 {
		t.Errorf("after removal %d images, %v", len(left.GetImages()), err)
	}
}

func TestDownAndUpKeepState(t *testing.T) {
	s := critest.New(t)
	c := runtimeOf(t, s)
	id := create(t, s, c, "survivor")
	start(t, c, id)
	s.Down()
	_, err := c.Version(t.Context(), &runtimeapi.VersionRequest{})
	wantCode(t, err, codes.Unavailable, "")
	s.Up()
	resp, err := c.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: id}, grpc.WaitForReady(true))
	if err != nil || resp.GetStatus().GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("after the restart: %v, %v", resp, err)
	}
}
