package cri

import (
	"context"
	"fmt"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Written is how many bytes the container's writable layer has, as the runtime
// last looked (containerd does every 10 s).
func (k *Container) Written(ctx context.Context) (int64, error) {
	ctx, cancel := k.client.call(ctx)
	defer cancel()
	answer, err := k.client.runtime.ContainerStats(ctx, &runtimeapi.ContainerStatsRequest{ContainerId: k.id})
	if err != nil {
		return 0, fmt.Errorf("usage of container %.13s: %w", k.id, classify(err))
	}
	return int64(answer.GetStats().GetWritableLayer().GetUsedBytes().GetValue()), nil
}

// RecursiveReadOnly reports whether the runtime's handler can make mounts
// recursively read-only (KEP-3857); a runtime that does not say cannot.
func (c *Client) RecursiveReadOnly(ctx context.Context, handler string) (bool, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.runtime.Status(ctx, &runtimeapi.StatusRequest{})
	if err != nil {
		return false, fmt.Errorf("status of the runtime: %w", classify(err))
	}
	for _, h := range answer.GetRuntimeHandlers() {
		if h.GetName() == handler {
			return h.GetFeatures().GetRecursiveReadOnlyMounts(), nil
		}
	}
	return false, nil
}
