package cri

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/runtime"
)

// Container is a debug container that was created over the CRI.
type Container struct {
	client *Client
	id     string
	plan   *runtime.Plan
	logs   *follower
}

// ID is the container's ID in the runtime.
func (k *Container) ID() string { return k.id }

// Launch creates and starts the planned container. Both calls are detached
// from ctx, so that whoever gives up waiting does not leave a container
// nobody knows; ctx is looked at before and after. When the launch fails, or its
// outcome is not known, whatever it left is removed by the session's label
// before it returns.
func (c *Client) Launch(ctx context.Context, p *runtime.Plan) (*Container, error) {
	request, err := c.Request(p)
	if err != nil {
		return nil, err
	}
	k := &Container{client: c, plan: p}
	// CRI-O wants the directory made first, and the follower must watch it before
	// the first line can be written.
	dir := filepath.Join(p.LogDirectory, filepath.Dir(p.LogPath))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("log directory of container %q: %w", p.Name, err)
	}
	if k.logs, err = follow(filepath.Join(p.LogDirectory, p.LogPath)); err != nil {
		return nil, err
	}
	if err := k.createAndStart(ctx, request); err != nil {
		k.logs.Close()
		undo := c.removeSession(ctx, p.Labels[runtime.LabelSession], k.id)
		return nil, errors.Join(err, undo)
	}
	return k, nil
}

func (k *Container) createAndStart(ctx context.Context, request *runtimeapi.CreateContainerRequest) error {
	c, name := k.client, k.plan.Name
	command := ""
	if all := append(append([]string(nil), k.plan.Command...), k.plan.Args...); len(all) > 0 {
		command = all[0]
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	o := order{Endpoint: c.endpoint, Limit: c.limits.Create, Claim: c.Name != "containerd"}
	result := started{}
	if c.Starter == nil {
		result = createAndStart(ctx, c.runtime, o, request)
	} else {
		var err error
		if result, err = c.Starter.start(o, request); err != nil {
			return err
		}
	}
	k.id = result.ID
	if err := result.err(); err != nil {
		err = classifyLaunch(err, command)
		if user := k.plan.Security.RunAsUsername; user != "" && noUser.MatchString(err.Error()) {
			err = fmt.Errorf("the image knows no user %q; give --user a number, or a name that its /etc/passwd has: %w", user, errdefs.ErrFailedPrecondition)
		}
		return fmt.Errorf("%s container %q in pod %s: %w", result.Step, name, k.plan.Pod.FullName(), err)
	}
	return ctx.Err()
}

// removeSession removes the containers that carry the session's label; id, if
// known, is removed even when the list does not show it.
func (c *Client) removeSession(ctx context.Context, session, id string) error {
	ctx = context.WithoutCancel(ctx)
	found, err := c.Containers(ctx, map[string]string{runtime.LabelSession: session})
	ids := map[string]bool{}
	if id != "" {
		ids[id] = true
	}
	for _, k := range found {
		ids[k.ID] = true
	}
	errs := []error{err}
	for id := range ids {
		errs = append(errs, c.Remove(ctx, id, 0))
	}
	return errors.Join(errs...)
}

// Remove stops the container, giving its process grace (rounded up to whole
// seconds, as the CRI counts) between SIGTERM and SIGKILL, and removes it from
// the runtime. A container that is not there is no error. A refusal is tried
// again for as long as one call may take: a container whose start was cancelled
// cannot be removed until the runtime has noticed ("in starting state", "cannot
// delete running task"). The caller has made sure that it is one of ours.
func (c *Client) Remove(ctx context.Context, id string, grace time.Duration) error {
	for began, wait := time.Now(), 20*time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := c.removeOnce(ctx, id, grace)
		silent := errdefs.IsUnavailable(err) || errors.Is(err, context.DeadlineExceeded)
		if err == nil || silent || time.Since(began) > c.limits.Call {
			return err
		}
		time.Sleep(wait)
	}
}

func (c *Client) removeOnce(ctx context.Context, id string, grace time.Duration) error {
	stopErr := c.stop(ctx, id, grace)
	ctx, cancel := c.settle(ctx, c.limits.Call)
	defer cancel()
	// Removal is tried in any case: it kills, too.
	_, err := c.runtime.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: id})
	if err = classify(err); err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	return errors.Join(stopErr, fmt.Errorf("remove container %.13s: %w", id, err))
}

func (c *Client) stop(ctx context.Context, id string, grace time.Duration) error {
	ctx, cancel := c.settle(ctx, c.limits.Call+grace)
	defer cancel()
	seconds := int64((grace + time.Second - 1) / time.Second)
	_, err := c.runtime.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: id, Timeout: seconds})
	if err = classify(err); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("stop container %.13s: %w", id, err)
	}
	return nil
}

// Stop ends the container's process and leaves the container, whose exit code
// and last output can then still be read.
func (k *Container) Stop(ctx context.Context, grace time.Duration) error {
	return k.client.stop(ctx, k.id, grace)
}

// Close releases what following the log holds. The container is not touched.
func (k *Container) Close() error { return k.logs.Close() }

// PID is the container's first process. ErrNotFound says that there is none
// any more; 0 without an error that the runtime does not tell.
func (k *Container) PID(ctx context.Context) (int, error) {
	state, info, err := k.client.status(ctx, k.id, true)
	if err != nil {
		return 0, err
	}
	if state.GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return 0, fmt.Errorf("container %q has ended: %w", k.plan.Name, errdefs.ErrNotFound)
	}
	return info.PID, nil
}

func (c *Client) status(ctx context.Context, id string, verbose bool) (*runtimeapi.ContainerStatus, containerInfo, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	var info containerInfo
	answer, err := c.runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id, Verbose: verbose})
	if err != nil {
		return nil, info, fmt.Errorf("container %.13s: %w", id, classify(err))
	}
	parseInfo(answer.GetInfo(), &info)
	return answer.GetStatus(), info, nil
}

// exitOf is nil while the container has not ended.
func exitOf(s *runtimeapi.ContainerStatus) *runtime.Exit {
	if s.GetState() != runtimeapi.ContainerState_CONTAINER_EXITED {
		return nil
	}
	return &runtime.Exit{
		Code:     int(s.GetExitCode()),
		Reason:   s.GetReason(),
		Message:  s.GetMessage(),
		Finished: time.Unix(0, s.GetFinishedAt()),
	}
}

// Ours lists Porthole's containers on this node, running and ended, with how
// they ended.
func (c *Client) Ours(ctx context.Context) ([]runtime.Info, error) {
	all, err := c.Containers(ctx, nil)
	if err != nil {
		return nil, err
	}
	var out []runtime.Info
	for _, k := range all {
		mark, err := runtime.ReadMark(k.Labels)
		if err != nil {
			continue
		}
		info := runtime.Info{Container: k, Mark: mark}
		info.Pod = runtime.Pod{
			ID:        k.PodID,
			Name:      k.Labels[runtime.LabelPodName],
			Namespace: k.Labels[runtime.LabelPodNamespace],
			UID:       k.Labels[runtime.LabelPodUID],
		}
		status, _, err := c.status(ctx, k.ID, false)
		if errdefs.IsNotFound(err) {
			continue // removed since the list was made
		}
		if err != nil {
			return nil, err
		}
		info.State = containerState(status.GetState())
		info.Exit = exitOf(status)
		info.Paths = ownDirectories(status, k.Name)
		out = append(out, info)
	}
	return out, nil
}

// ownDirectories are the host directories that belong to the container alone:
// its log's, and its termination log's under kubelet's root. They will be
// removed, so a mount of the user's must never look like one of them.
func ownDirectories(status *runtimeapi.ContainerStatus, name string) []string {
	var out []string
	if dir := filepath.Dir(status.GetLogPath()); filepath.IsAbs(dir) && filepath.Base(dir) == name {
		out = append(out, dir)
	}
	uid := status.GetLabels()[runtime.LabelPodUID]
	// The pod's author may have a volume at a path that looks like it, but not at
	// this place in the container.
	at := path.Join("/", status.GetAnnotations()["io.kubernetes.container.terminationMessagePath"])
	for _, m := range status.GetMounts() {
		dir := filepath.Dir(m.GetHostPath())
		if uid != "" && m.GetContainerPath() == at && strings.HasSuffix(dir, filepath.Join("/pods", uid, "containers", name)) {
			out = append(out, dir)
		}
	}
	return out
}
