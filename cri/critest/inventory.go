package critest

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// runtimeService answers CRI's RuntimeService. Methods that it does not have answer Unimplemented.
type runtimeService struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	s *Server
}

func clone[M proto.Message](m M) M { return proto.Clone(m).(M) }

func (r *runtimeService) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return clone(r.s.node.version), nil
}

func (r *runtimeService) Status(_ context.Context, req *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	resp := clone(r.s.node.status)
	if !req.GetVerbose() {
		resp.Info = nil
	}
	return resp, nil
}

func (r *runtimeService) RuntimeConfig(context.Context, *runtimeapi.RuntimeConfigRequest) (*runtimeapi.RuntimeConfigResponse, error) {
	return clone(r.s.node.config), nil
}

func (r *runtimeService) ListPodSandbox(_ context.Context, req *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	f := req.GetFilter()
	resp := &runtimeapi.ListPodSandboxResponse{}
	only, _ := r.s.node.sandbox(f.GetId())
	for _, sb := range r.s.node.sandboxes {
		switch {
		case f.GetId() != "" && sb != only:
		case f.GetState() != nil && f.GetState().GetState() != sb.list.GetState():
		case !selects(f.GetLabelSelector(), sb.list.GetLabels()):
		default:
			resp.Items = append(resp.Items, clone(sb.list))
		}
	}
	return resp, nil
}

func (r *runtimeService) PodSandboxStatus(_ context.Context, req *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	sb, err := r.s.node.sandbox(req.GetPodSandboxId())
	if err != nil {
		return nil, r.s.flavor.absent(noSandbox, req.GetPodSandboxId(), err)
	}
	resp := &runtimeapi.PodSandboxStatusResponse{Status: clone(sb.status)}
	if req.GetVerbose() {
		resp.Info = maps.Clone(sb.info)
	}
	return resp, nil
}

func (r *runtimeService) ListContainers(_ context.Context, req *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	f := req.GetFilter()
	resp := &runtimeapi.ListContainersResponse{}
	only, _ := r.s.node.container(f.GetId())
	pod := f.GetPodSandboxId()
	if sb, err := r.s.node.sandbox(pod); err == nil {
		pod = sb.list.GetId()
	}
	for _, c := range r.s.node.containers {
		switch {
		case f.GetId() != "" && c != only:
		case pod != "" && pod != c.list.GetPodSandboxId():
		case f.GetState() != nil && f.GetState().GetState() != c.list.GetState():
		case !selects(f.GetLabelSelector(), c.list.GetLabels()):
		default:
			resp.Containers = append(resp.Containers, clone(c.list))
		}
	}
	return resp, nil
}

func (r *runtimeService) ContainerStatus(_ context.Context, req *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	c, err := r.s.node.container(req.GetContainerId())
	if err != nil {
		return nil, r.s.flavor.absent(noContainer, req.GetContainerId(), err)
	}
	resp := &runtimeapi.ContainerStatusResponse{Status: clone(c.status)}
	if req.GetVerbose() {
		resp.Info = maps.Clone(c.info)
	}
	return resp, nil
}

// StopPodSandbox ends the pod: its containers are killed, and it is not ready. Nothing there is no error.
func (r *runtimeService) StopPodSandbox(_ context.Context, req *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	resp := &runtimeapi.StopPodSandboxResponse{}
	r.s.mu.Lock()
	sb, err := r.s.node.sandbox(req.GetPodSandboxId())
	if err != nil {
		r.s.mu.Unlock()
		return resp, nil
	}
	sb.list.State, sb.status.State = runtimeapi.PodSandboxState_SANDBOX_NOTREADY, runtimeapi.PodSandboxState_SANDBOX_NOTREADY
	inside := slices.DeleteFunc(slices.Clone(r.s.node.containers), func(c *Container) bool {
		return c.list.GetPodSandboxId() != sb.list.GetId() || !c.running()
	})
	r.s.mu.Unlock()
	for _, c := range inside {
		c.kill()
	}
	return resp, nil
}

// RemovePodSandbox ends the pod and forgets it and its containers. Nothing there is no error.
func (r *runtimeService) RemovePodSandbox(ctx context.Context, req *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	if _, err := r.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: req.GetPodSandboxId()}); err != nil {
		return nil, err
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	n := &r.s.node
	if sb, err := n.sandbox(req.GetPodSandboxId()); err == nil {
		n.sandboxes = slices.DeleteFunc(n.sandboxes, func(other *sandbox) bool { return other == sb })
		n.containers = slices.DeleteFunc(n.containers, func(c *Container) bool {
			return c.list.GetPodSandboxId() == sb.list.GetId()
		})
	}
	return &runtimeapi.RemovePodSandboxResponse{}, nil
}
