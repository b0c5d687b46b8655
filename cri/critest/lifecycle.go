package critest

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// StartContainer runs the container's process, which is the start hook's, a stray one, or nobody.
func (r *runtimeService) StartContainer(_ context.Context, req *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	c, start, err := r.s.starting(req.GetContainerId())
	if err != nil {
		return nil, err
	}
	pid, err := c.launch(start)
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	c.starting = false
	if err != nil {
		// The runtimes agree on the words of a failed start, and on 128: runc's "could not run it at all".
		c.exit(128, "StartError", status.Convert(err).Message())
		return nil, err
	}
	c.status.StartedAt = time.Now().UnixNano()
	if !c.ended() { // a quick command may have exited before anyone is told that it started
		c.list.State, c.status.State = runtimeapi.ContainerState_CONTAINER_RUNNING, runtimeapi.ContainerState_CONTAINER_RUNNING
		c.setPID(pid)
	}
	return &runtimeapi.StartContainerResponse{}, nil
}

// launch opens the log, which makes its directory, and runs the process.
func (c *Container) launch(start func(*Container) (int, error)) (int, error) {
	if c.LogPath() != "" {
		if err := c.log.start(c.LogPath()); err != nil {
			return 0, status.Errorf(codes.Unknown, "failed to create container loggers: %v", err)
		}
	}
	if err := c.s.flavor.missingCommand(commandMissingAtStart, c.argv); err != nil {
		return 0, err
	}
	return start(c)
}

// starting marks a created container as about to run and says by which hook.
func (s *Server) starting(id string) (*Container, func(*Container) (int, error), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.node.container(id)
	if err != nil {
		return nil, nil, s.flavor.absent(noContainer, id, err)
	}
	state := c.status.GetState()
	if c.starting {
		state = runtimeapi.ContainerState_CONTAINER_RUNNING
	}
	if state != runtimeapi.ContainerState_CONTAINER_CREATED {
		words := map[runtimeapi.ContainerState]string{
			runtimeapi.ContainerState_CONTAINER_RUNNING: "running",
			runtimeapi.ContainerState_CONTAINER_EXITED:  "stopped",
		}
		return nil, nil, s.flavor.refuse(notCreated, "id", c.ID(), "state", state.String(), "status", words[state])
	}
	c.starting = true
	switch {
	case s.hooks.start != nil:
		return c, s.hooks.start, nil
	case s.hooks.targetIgnored:
		return c, stray, nil
	default:
		s.node.madeUp++
		pid := impossiblePID + s.node.madeUp
		return c, func(*Container) (int, error) { return pid, nil }, nil
	}
}

// impossiblePID is Linux's PID_MAX_LIMIT: no process has a higher pid.
const impossiblePID = 1 << 22

// missingCommand refuses the one command that no recorded image has, where the runtime notices.
func (f Flavor) missingCommand(where edge, argv []string) error {
	if len(argv) == 0 || argv[0] != "/no/such" {
		return nil
	}
	return f.refuse(where, "command", argv[0], "time", time.Now().UTC().Format(time.RFC3339))
}

// StopContainer kills the container. It does nothing to one that does not run, or is not there.
func (r *runtimeService) StopContainer(_ context.Context, req *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	r.s.mu.Lock()
	c, err := r.s.node.container(req.GetContainerId())
	stop := err == nil && c.running()
	r.s.mu.Unlock()
	if stop {
		c.kill()
	}
	return &runtimeapi.StopContainerResponse{}, nil
}

// kill ends the container as SIGKILL does.
func (c *Container) kill() {
	c.end()
	c.Exit(137)
}

// RemoveContainer kills the container and forgets it. Nothing there is no error. The log stays, as it does on a node.
func (r *runtimeService) RemoveContainer(_ context.Context, req *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	resp := &runtimeapi.RemoveContainerResponse{}
	r.s.mu.Lock()
	c, err := r.s.node.container(req.GetContainerId())
	r.s.mu.Unlock()
	if err != nil {
		return resp, nil
	}
	c.kill()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.node.containers = slices.DeleteFunc(r.s.node.containers, func(other *Container) bool { return other == c })
	return resp, nil
}

// ReopenContainerLog makes the container write to its log path again after the file there was renamed.
func (r *runtimeService) ReopenContainerLog(_ context.Context, req *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	c, err := r.s.node.container(req.GetContainerId())
	if err != nil {
		return nil, r.s.flavor.absent(noContainer, req.GetContainerId(), err)
	}
	if !c.running() || c.ended() {
		return nil, status.Error(codes.Unknown, "container is not running") // both runtimes' words, read
	}
	reopen := c.log.reopen
	if r.s.flavor == CRIO {
		reopen = c.log.replace
	}
	if err := reopen(c.LogPath()); err != nil {
		return nil, err
	}
	return &runtimeapi.ReopenContainerLogResponse{}, nil
}

// Attach prepares a stream, for which it answers with a URL that works once.
func (r *runtimeService) Attach(_ context.Context, req *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	r.s.mu.Lock()
	c, err := r.s.node.container(req.GetContainerId())
	if err != nil {
		r.s.mu.Unlock()
		return nil, r.s.flavor.absent(noContainerToAttach, req.GetContainerId(), err)
	}
	if !c.running() {
		err = r.s.flavor.refuse(attachNotRunning, "state", c.status.GetState().String())
	}
	r.s.mu.Unlock()
	if err == nil {
		err = r.s.flavor.badStreams(req)
	}
	if err != nil {
		return nil, err
	}
	return &runtimeapi.AttachResponse{Url: r.s.streams.offer(c, req)}, nil
}

func (f Flavor) badStreams(req *runtimeapi.AttachRequest) error {
	var reasons []string
	if req.GetTty() && req.GetStderr() {
		reasons = append(reasons, "tty and stderr cannot both be true")
	}
	if !req.GetStdin() && !req.GetStdout() && !req.GetStderr() {
		reasons = append(reasons, "one of stdin, stdout, and stderr must be set")
	}
	if len(reasons) == 0 {
		return nil
	}
	return f.refuse(attachStreams, "reason", strings.Join(reasons, ", "))
}
