package critest

import (
	"bytes"
	"encoding/json"
	"time"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Container is one container of the server, recorded or created.
type Container struct {
	s        *Server
	list     *runtimeapi.Container
	status   *runtimeapi.ContainerStatus
	info     map[string]string // always as verbose
	name     string            // the name that it has reserved
	req      *runtimeapi.CreateContainerRequest
	argv     []string
	starting bool
	process  func() // ends the container's process and waits for that
	log      *logFile
	done     chan struct{}
}

func newContainer(s *Server, list *runtimeapi.Container) *Container {
	c := &Container{s: s, list: list, done: make(chan struct{}), log: &logFile{}}
	if list.GetState() == runtimeapi.ContainerState_CONTAINER_EXITED {
		close(c.done)
	}
	return c
}

// ID returns the container's full ID.
func (c *Container) ID() string { return c.list.GetId() }

// Request returns a copy of what created the container, nil for one that was recorded.
func (c *Container) Request() *runtimeapi.CreateContainerRequest {
	if c.req == nil {
		return nil
	}
	return proto.Clone(c.req).(*runtimeapi.CreateContainerRequest)
}

// State returns the container's state now.
func (c *Container) State() runtimeapi.ContainerState {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.status.GetState()
}

// LogPath returns the path of the container's CRI log.
func (c *Container) LogPath() string { return c.status.GetLogPath() }

// Done is closed when the container has exited or was removed.
func (c *Container) Done() <-chan struct{} { return c.done }

// SetPID changes the pid that verbose info reports, of a recorded container too.
func (c *Container) SetPID(pid int) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.setPID(pid)
}

// Exit ends the container with an exit code, as the end of its process does. It does nothing to one that ended.
func (c *Container) Exit(code int32) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.exit(code, "", "")
}

// end ends the process of a container that is about to exit or to be removed. Not under the server's lock.
func (c *Container) end() {
	c.s.mu.Lock()
	kill := c.process
	c.process = nil
	c.s.mu.Unlock()
	if kill != nil {
		kill()
	}
}

// exit moves the container to its last state. Reason and message default to what the exit code means.
func (c *Container) exit(code int32, reason, message string) {
	if c.ended() {
		return
	}
	if reason == "" {
		reason = "Completed"
		if code != 0 {
			reason = "Error"
		}
	}
	c.list.State, c.status.State = runtimeapi.ContainerState_CONTAINER_EXITED, runtimeapi.ContainerState_CONTAINER_EXITED
	c.status.FinishedAt = time.Now().UnixNano()
	c.status.ExitCode, c.status.Reason, c.status.Message = code, reason, message
	if c.s.flavor == Containerd { // CRI-O goes on reporting the last pid
		c.setPID(0)
	}
	c.log.close()
	close(c.done)
}

func (c *Container) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *Container) running() bool {
	return c.status.GetState() == runtimeapi.ContainerState_CONTAINER_RUNNING
}

// setPID rewrites the one number, so that the rest of a recorded info stays as it was.
func (c *Container) setPID(pid int) {
	if info, err := withPID(c.info["info"], pid); err == nil {
		c.info["info"] = info
	}
}

func (c *Container) pid() int {
	var info struct{ Pid int }
	_ = json.Unmarshal([]byte(c.info["info"]), &info)
	return info.Pid
}

func withPID(info string, pid int) (string, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(info), &fields); err != nil {
		return "", err
	}
	number, err := json.Marshal(pid)
	if err != nil {
		return "", err
	}
	fields["pid"] = number
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(fields); err != nil {
		return "", err
	}
	return string(bytes.TrimSpace(out.Bytes())), nil
}
