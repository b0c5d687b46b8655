package critest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// creation is one CreateContainer on its way through the checks of the runtime.
type creation struct {
	s      *Server
	req    *runtimeapi.CreateContainerRequest
	id     string
	name   string
	sb     *sandbox
	image  *image
	target *Container // nil unless the pid mode is TARGET
	again  *Container // the container that this request already made, where the runtime says so
}

// CreateContainer checks what the runtimes check, in their order, and makes the container.
func (r *runtimeService) CreateContainer(_ context.Context, req *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	c := &creation{s: r.s, req: req, id: newID()}
	checks := []func() error{
		c.inSandbox, c.underName, c.fromImage, c.privileged, c.besideTarget, c.sameUserns, c.intoLog,
		func() error { return c.s.flavor.missingCommand(commandMissingAtMake, c.argv()) },
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return nil, err
		}
		if c.again != nil {
			return &runtimeapi.CreateContainerResponse{ContainerId: c.again.ID()}, nil
		}
	}
	made, err := c.container()
	if err != nil {
		return nil, err
	}
	r.s.node.containers = append(r.s.node.containers, made)
	return &runtimeapi.CreateContainerResponse{ContainerId: c.id}, nil
}

func newID() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	return hex.EncodeToString(raw)
}

func (c *creation) refuse(e edge, words ...string) error {
	return c.s.flavor.refuse(e, append(words, "id", c.id)...)
}

func (c *creation) inSandbox() (err error) {
	id := c.req.GetPodSandboxId()
	if c.sb, err = c.s.node.sandbox(id); err != nil {
		return c.s.flavor.absent(noSandboxToCreateIn, id, err)
	}
	if c.sb.list.GetState() != runtimeapi.PodSandboxState_SANDBOX_READY {
		return c.s.flavor.refuse(sandboxNotReady, "id", c.sb.list.GetId())
	}
	return nil
}

func (c *creation) underName() error {
	c.name = containerName(c.req.GetConfig().GetMetadata(), c.req.GetSandboxConfig().GetMetadata())
	for _, other := range c.s.node.containers {
		if other.name == c.name {
			c.again = other
			return c.refuse(nameTaken, "name", c.name, "holder", other.ID())
		}
	}
	return nil
}

func (c *creation) fromImage() error {
	spec := c.req.GetConfig().GetImage()
	if spec.GetUserSpecifiedImage() == "" {
		if err := c.refuse(noUserSpecifiedImage); err != nil {
			return err
		}
	}
	if c.image = c.s.node.image(spec.GetImage()); c.image == nil {
		return c.refuse(noImage, "image", spec.GetImage())
	}
	return nil
}

func (c *creation) privileged() error {
	if c.req.GetConfig().GetLinux().GetSecurityContext().GetPrivileged() &&
		!c.req.GetSandboxConfig().GetLinux().GetSecurityContext().GetPrivileged() {
		return c.refuse(privilegedInPlainPod)
	}
	return nil
}

func (c *creation) namespaces() *runtimeapi.NamespaceOption {
	return c.req.GetConfig().GetLinux().GetSecurityContext().GetNamespaceOptions()
}

func (c *creation) besideTarget() (err error) {
	if c.namespaces().GetPid() != runtimeapi.NamespaceMode_TARGET {
		return nil
	}
	id := c.namespaces().GetTargetId()
	if c.target, err = c.s.node.container(id); err != nil {
		reason := err.Error()
		if errors.Is(err, errUnknownID) {
			reason = "not found"
		}
		return c.refuse(targetUnknown, "target", id, "reason", reason)
	}
	if theirs := c.target.list.GetPodSandboxId(); theirs != c.sb.list.GetId() {
		if err := c.refuse(targetElsewhere, "target", id, "theirs", theirs, "ours", c.sb.list.GetId()); err != nil {
			return err
		}
	}
	if !c.target.running() {
		return c.refuse(targetNotRunning, "target", id, "state", c.target.status.GetState().String())
	}
	return nil
}

// sameUserns compares the two halves of the request, as containerd does: to leave the options out of one is to differ.
func (c *creation) sameUserns() error {
	ours := c.req.GetSandboxConfig().GetLinux().GetSecurityContext().GetNamespaceOptions().GetUsernsOptions()
	theirs := c.namespaces().GetUsernsOptions()
	if proto.Equal(ours, theirs) {
		return nil
	}
	return c.refuse(usernsDiffers, "ours", fmt.Sprint(ours), "theirs", fmt.Sprint(theirs))
}

func (c *creation) intoLog() error {
	if _, err := os.Stat(filepath.Dir(c.logPath())); err != nil && c.logPath() != "" {
		return c.refuse(logDirectoryMissing)
	}
	return nil
}

func (c *creation) logPath() string {
	dir, file := c.req.GetSandboxConfig().GetLogDirectory(), c.req.GetConfig().GetLogPath()
	if dir == "" || file == "" {
		return ""
	}
	return filepath.Join(dir, file)
}

// container makes the container as both runtimes list and describe it before it is started.
func (c *creation) container() (*Container, error) {
	config, now := c.req.GetConfig(), time.Now().UnixNano()
	imageID, imageRef := c.image.list.GetId(), c.image.list.GetId()
	if digests := c.image.list.GetRepoDigests(); len(digests) > 0 {
		imageRef = digests[0]
	}
	named := &runtimeapi.ImageSpec{Image: config.GetImage().GetImage()}
	if tags := c.image.list.GetRepoTags(); len(tags) > 0 {
		named.Image = tags[0]
	}
	// CRI-O lists what the status tells; containerd lists the request's image, and looks no digest up for a list.
	listed, listedRef, signal := &runtimeapi.ImageSpec{Image: imageID}, imageRef, config.GetStopSignal()
	if c.s.flavor == Containerd {
		listed, listedRef = config.GetImage(), imageID
		if signal == runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT {
			signal = runtimeapi.Signal_SIGNAL_SIGTERM
		}
	}
	made := newContainer(c.s, &runtimeapi.Container{
		Id: c.id, PodSandboxId: c.sb.list.GetId(), Metadata: config.GetMetadata(), Image: listed, ImageRef: listedRef,
		ImageId: imageID, State: runtimeapi.ContainerState_CONTAINER_CREATED, CreatedAt: now,
		Labels: config.GetLabels(), Annotations: config.GetAnnotations(),
	})
	made.req, made.name, made.argv = c.req, c.name, c.argv()
	made.status = &runtimeapi.ContainerStatus{
		Id: c.id, Metadata: config.GetMetadata(), State: runtimeapi.ContainerState_CONTAINER_CREATED, CreatedAt: now,
		Image: named, ImageRef: imageRef, ImageId: imageID, Labels: config.GetLabels(),
		Annotations: config.GetAnnotations(), Mounts: config.GetMounts(), LogPath: c.logPath(),
		Resources: c.resources(), User: c.user(), StopSignal: signal,
	}
	var err error
	made.info, err = c.verboseInfo(made.status)
	return made, err
}

func (c *creation) resources() *runtimeapi.ContainerResources {
	if limits := c.req.GetConfig().GetLinux().GetResources(); limits != nil {
		return &runtimeapi.ContainerResources{Linux: clone(limits)}
	}
	return &runtimeapi.ContainerResources{Linux: &runtimeapi.LinuxContainerResources{}}
}

func (c *creation) user() *runtimeapi.ContainerUser {
	sc := c.req.GetConfig().GetLinux().GetSecurityContext()
	gid := sc.GetRunAsGroup().GetValue()
	groups := append([]int64{gid}, sc.GetSupplementalGroups()...)
	if c.s.flavor == Containerd {
		slices.Sort(groups)
	}
	return &runtimeapi.ContainerUser{Linux: &runtimeapi.LinuxContainerUser{
		Uid: sc.GetRunAsUser().GetValue(), Gid: gid, SupplementalGroups: groups,
	}}
}
