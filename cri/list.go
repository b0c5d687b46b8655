package cri

import (
	"context"
	"fmt"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/runtime"
)

// Pods lists the sandboxes whose labels match; nil lists all.
func (c *Client) Pods(ctx context.Context, labels map[string]string) ([]runtime.Pod, error) {
	return c.pods(ctx, &runtimeapi.PodSandboxFilter{LabelSelector: labels})
}

func (c *Client) pods(ctx context.Context, filter *runtimeapi.PodSandboxFilter) ([]runtime.Pod, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	list, err := c.runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: filter})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", classify(err))
	}
	pods := make([]runtime.Pod, 0, len(list.GetItems()))
	for _, s := range list.GetItems() {
		state := runtime.NotReady
		if s.GetState() == runtimeapi.PodSandboxState_SANDBOX_READY {
			state = runtime.Ready
		}
		pods = append(pods, runtime.Pod{
			ID:          s.GetId(),
			Name:        s.GetMetadata().GetName(),
			Namespace:   s.GetMetadata().GetNamespace(),
			UID:         s.GetMetadata().GetUid(),
			Attempt:     s.GetMetadata().GetAttempt(),
			State:       state,
			Created:     time.Unix(0, s.GetCreatedAt()),
			Handler:     s.GetRuntimeHandler(),
			Labels:      s.GetLabels(),
			Annotations: s.GetAnnotations(),
		})
	}
	return pods, nil
}

// Containers lists the containers whose labels match, in any state; nil lists
// all.
func (c *Client) Containers(ctx context.Context, labels map[string]string) ([]runtime.Container, error) {
	return c.containers(ctx, &runtimeapi.ContainerFilter{LabelSelector: labels})
}

func (c *Client) containers(ctx context.Context, filter *runtimeapi.ContainerFilter) ([]runtime.Container, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	list, err := c.runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: filter})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", classify(err))
	}
	out := make([]runtime.Container, 0, len(list.GetContainers()))
	for _, c := range list.GetContainers() {
		image := c.GetImage().GetUserSpecifiedImage()
		if image == "" {
			image = c.GetImage().GetImage()
		}
		out = append(out, runtime.Container{
			ID:          c.GetId(),
			PodID:       c.GetPodSandboxId(),
			Name:        c.GetMetadata().GetName(),
			Image:       image,
			ImageID:     c.GetImageId(),
			Attempt:     c.GetMetadata().GetAttempt(),
			State:       containerState(c.GetState()),
			Created:     time.Unix(0, c.GetCreatedAt()),
			Labels:      c.GetLabels(),
			Annotations: c.GetAnnotations(),
		})
	}
	return out, nil
}

func containerState(s runtimeapi.ContainerState) runtime.State {
	switch s {
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		return runtime.Created
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		return runtime.Running
	case runtimeapi.ContainerState_CONTAINER_EXITED:
		return runtime.Exited
	}
	return runtime.Unknown
}
