package cri

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/runtime"
	"github.com/porthole-project/porthole/runtime/ephemeral"
)

// Image makes sure that the image is on the node, by the policy, as kubelet's
// image manager does: Never and IfNotPresent look first, Always asks the
// registry, and no policy means Always for the tag :latest and IfNotPresent for
// any other. A policy that nobody gave does not make a broken registry stop an
// image that is here.
func (c *Client) Image(ctx context.Context, o runtime.ImageOrder) (runtime.Image, error) {
	present, err := c.imageStatus(ctx, o.Ref)
	if err != nil {
		return runtime.Image{}, err
	}
	policy, defaulted := o.Policy, o.Policy == ""
	if defaulted {
		policy = ephemeral.DefaultPullPolicy(o.Ref)
	}
	switch {
	case policy == corev1.PullNever && present == nil:
		// Kubelet's words (images/image_manager.go), and what to do.
		return runtime.Image{}, fmt.Errorf("Container image %q is not present with pull policy of Never (ErrImageNeverPull); import or pull it, or name one that is here: %w", o.Ref, errdefs.ErrNotFound)
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
		o.Notice(fmt.Sprintf("Pulling image %q …", o.Ref))
	}
	source, err := c.pull(ctx, o, limit)
	if err != nil && ctx.Err() == nil && defaulted && present != nil {
		o.Notice(fmt.Sprintf("Warning: image %q cannot be pulled (%v); using the one on the node.", o.Ref, err))
		return *present, nil
	}
	if err != nil {
		return runtime.Image{}, err
	}
	pulled, err := c.imageStatus(ctx, o.Ref)
	if err == nil && pulled == nil {
		err = fmt.Errorf("image %q was pulled but the runtime does not know it: %w", o.Ref, errdefs.ErrNotFound)
	}
	if err != nil {
		return runtime.Image{}, err
	}
	pulled.Pulled, pulled.Source = present == nil, source
	return *pulled, nil
}

// pull tries each credential once, and without any once none, as kubelet's
// PullImage does. It returns where the one that worked comes from.
func (c *Client) pull(ctx context.Context, o runtime.ImageOrder, limit time.Duration) (source string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var credentials []runtime.Credential
	if o.Credentials != nil {
		credentials = o.Credentials(ctx, o.Ref)
	}
	if len(credentials) == 0 {
		return "", c.pullOnce(ctx, o, nil, limit)
	}
	var errs []error
	for _, credential := range credentials {
		err := c.pullOnce(ctx, o, &credential, limit)
		if err == nil {
			return credential.Source, nil
		}
		errs = append(errs, fmt.Errorf("%w (with the %s)", err, credential))
		if ctx.Err() != nil {
			break
		}
	}
	return "", errors.Join(errs...)
}

func (c *Client) pullOnce(ctx context.Context, o runtime.ImageOrder, credential *runtime.Credential, limit time.Duration) error {
	request := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: o.Ref, UserSpecifiedImage: o.Ref}}
	if f := o.Facts; f != nil {
		request.SandboxConfig, _ = f.Native.(*runtimeapi.PodSandboxConfig)
		request.Image.Annotations, request.Image.RuntimeHandler = f.Pod.Annotations, f.Pod.Handler
	}
	if credential != nil {
		request.Auth = &runtimeapi.AuthConfig{
			Username: credential.Username, Password: credential.Password,
			IdentityToken: credential.IdentityToken, RegistryToken: credential.RegistryToken,
		}
	}
	_, err := c.images.PullImage(ctx, request)
	if err != nil {
		err = classify(err)
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s: %w", limit, err)
		}
		return fmt.Errorf("pull image %q: %w", o.Ref, err)
	}
	return nil
}

// RemoveImage removes an image, unless a container is of it or it has other
// names, which would go with it (ErrFailedPrecondition). One that is not there is
// no error.
func (c *Client) RemoveImage(ctx context.Context, ref string) error {
	found, err := c.imageOf(ctx, ref)
	if err != nil || found == nil {
		return err
	}
	if names := repositories(found); len(names) > 1 || len(found.GetRepoTags()) > 1 {
		return fmt.Errorf("image %q has other names, too (%s), all of which would go: %w", ref, strings.Join(append(names, found.GetRepoTags()...), ", "), errdefs.ErrFailedPrecondition)
	}
	image := imageFrom(ref, found)
	containers, err := c.Containers(ctx, nil)
	if err != nil {
		return err
	}
	for _, k := range containers {
		if k.ImageID == image.ID || k.Image == ref || k.Image == image.ID {
			return fmt.Errorf("image %q is in use by container %q (%.13s): %w", ref, k.Name, k.ID, errdefs.ErrFailedPrecondition)
		}
	}
	ctx, cancel := c.settle(ctx, c.limits.Call)
	defer cancel()
	if _, err := c.images.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}}); err != nil {
		if err = classify(err); !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove image %q: %w", ref, err)
		}
	}
	return nil
}

// repositories are the names under which an image is known, without tags and
// digests.
func repositories(image *runtimeapi.Image) []string {
	names := map[string]bool{}
	for _, tag := range image.GetRepoTags() {
		if i := strings.LastIndexByte(tag, ':'); i > strings.LastIndexByte(tag, '/') {
			names[tag[:i]] = true
		}
	}
	for _, digest := range image.GetRepoDigests() {
		name, _, _ := strings.Cut(digest, "@")
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// imageStatus is nil without an error when the image is not on the node.
func (c *Client) imageStatus(ctx context.Context, ref string) (*runtime.Image, error) {
	found, err := c.imageOf(ctx, ref)
	if err != nil || found == nil {
		return nil, err
	}
	image := imageFrom(ref, found)
	return &image, nil
}

func imageFrom(ref string, found *runtimeapi.Image) runtime.Image {
	return runtime.Image{Ref: ref, ID: found.GetId(), Username: found.GetUsername(), UID: valueOf(found.GetUid())}
}

func (c *Client) imageOf(ctx context.Context, ref string) (*runtimeapi.Image, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	answer, err := c.images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	if err = classify(err); err != nil {
		if errdefs.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("image %q: %w", ref, err)
	}
	if answer.GetImage().GetId() == "" {
		return nil, nil
	}
	return answer.GetImage(), nil
}
