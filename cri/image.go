package cri

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/runtime"
)

// Image makes sure that the image is on the node, by the policy, as kubelet's
// image manager does: Never and IfNotPresent look first, Always asks the
// registry, and no policy means Always for the tag :latest and IfNotPresent for
// any other. notice is told what the user should know. A policy that nobody
// gave does not make a broken registry stop an image that is here.
func (c *Client) Image(ctx context.Context, ref string, policy corev1.PullPolicy, notice func(string)) (runtime.Image, error) {
	present, err := c.imageStatus(ctx, ref)
	if err != nil {
		return runtime.Image{}, err
	}
	defaulted := policy == ""
	if defaulted {
		policy = runtime.DefaultPullPolicy(ref)
	}
	switch {
	case policy == corev1.PullNever && present == nil:
		return runtime.Image{}, fmt.Errorf("image %q is not on the node and its pull policy is Never (ErrImageNeverPull); import or pull it, or name one that is here: %w", ref, errdefs.ErrNotFound)
	case policy == corev1.PullNever, policy == corev1.PullIfNotPresent && present != nil:
		return *present, nil
	case policy != corev1.PullAlways && policy != corev1.PullIfNotPresent:
		return runtime.Image{}, fmt.Errorf("imagePullPolicy: Unsupported value: %q: supported values: Always, IfNotPresent, Never: %w", policy, errdefs.ErrInvalidArgument)
	}
	limit := c.limits.Pull
	if defaulted && present != nil {
		// Somebody waits, and a usable image is here.
		limit = min(limit, 10*time.Second)
	}
	if present == nil {
		notice(fmt.Sprintf("Pulling image %q …", ref))
	}
	err = c.pull(ctx, ref, limit)
	if err != nil && ctx.Err() == nil && defaulted && present != nil {
		notice(fmt.Sprintf("Warning: image %q cannot be pulled (%v); using the one on the node.", ref, err))
		return *present, nil
	}
	if err != nil {
		return runtime.Image{}, err
	}
	pulled, err := c.imageStatus(ctx, ref)
	if err == nil && pulled == nil {
		err = fmt.Errorf("image %q was pulled but the runtime does not know it: %w", ref, errdefs.ErrNotFound)
	}
	if err != nil {
		return runtime.Image{}, err
	}
	return *pulled, nil
}

func (c *Client) pull(ctx context.Context, ref string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := c.images.PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: ref, UserSpecifiedImage: ref}})
	if err != nil {
		err = classify(err)
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s: %w", limit, err)
		}
		return fmt.Errorf("pull image %q: %w", ref, err)
	}
	return nil
}

// imageStatus is nil without an error when the image is not on the node.
func (c *Client) imageStatus(ctx context.Context, ref string) (*runtime.Image, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	if err = classify(err); err != nil {
		if errdefs.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("image %q: %w", ref, err)
	}
	found := answer.GetImage()
	if found.GetId() == "" {
		return nil, nil
	}
	image := &runtime.Image{Ref: ref, ID: found.GetId(), Username: found.GetUsername()}
	if uid := found.GetUid(); uid != nil {
		value := uid.GetValue()
		image.UID = &value
	}
	return image, nil
}
