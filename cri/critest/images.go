package critest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// imageService answers CRI's ImageService. Methods that it does not have answer Unimplemented.
type imageService struct {
	runtimeapi.UnimplementedImageServiceServer
	s *Server
}

func (i *imageService) ListImages(_ context.Context, req *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	resp := &runtimeapi.ListImagesResponse{}
	wanted := req.GetFilter().GetImage().GetImage()
	only := i.s.node.image(wanted)
	for _, img := range i.s.node.images {
		if wanted == "" || img == only {
			resp.Images = append(resp.Images, clone(img.list))
		}
	}
	return resp, nil
}

// ImageStatus answers with nothing, not with an error, for an image that is not there: so do the runtimes.
func (i *imageService) ImageStatus(_ context.Context, req *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	img := i.s.node.image(req.GetImage().GetImage())
	if img == nil {
		return &runtimeapi.ImageStatusResponse{}, nil
	}
	resp := clone(img.status)
	if !req.GetVerbose() {
		resp.Info = nil
	}
	return resp, nil
}

// PullImage finds what WithRegistry named. Like the runtimes it asks the registry for an image that is here already.
func (i *imageService) PullImage(_ context.Context, req *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	ref := req.GetImage().GetImage()
	if !i.s.hooks.registry[ref] {
		return nil, i.s.flavor.unreachable(ref)
	}
	img := i.s.node.image(ref)
	if img == nil {
		img = i.s.node.images[0].under(ref)
		i.s.node.images = append(i.s.node.images, img)
	}
	return &runtimeapi.PullImageResponse{ImageRef: img.list.GetId()}, nil
}

// under returns a copy of the image that has another name, and so another ID.
func (img *image) under(ref string) *image {
	sum := sha256.Sum256([]byte(ref))
	id := hex.EncodeToString(sum[:])
	if strings.HasPrefix(img.list.GetId(), "sha256:") {
		id = "sha256:" + id
	}
	other := &image{list: clone(img.list), status: clone(img.status)}
	for _, m := range []*runtimeapi.Image{other.list, other.status.GetImage()} {
		m.Id, m.RepoTags, m.RepoDigests, m.Pinned = id, []string{ref}, nil, false
	}
	return other
}

// imageConfig is what an image says about the containers that run it.
type imageConfig struct{ Env, Entrypoint, Cmd []string }

// config reads the image's config from its verbose info. An image that is gone has none.
func (img *image) config() imageConfig {
	var info struct {
		ImageSpec struct{ Config imageConfig }
	}
	if img != nil {
		_ = json.Unmarshal([]byte(img.status.GetInfo()["info"]), &info)
	}
	return info.ImageSpec.Config
}

// RemoveImage forgets the image. Nothing there is no error.
func (i *imageService) RemoveImage(_ context.Context, req *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	img := i.s.node.image(req.GetImage().GetImage())
	i.s.node.images = slices.DeleteFunc(i.s.node.images, func(other *image) bool { return other == img })
	return &runtimeapi.RemoveImageResponse{}, nil
}

// unreachable is what a pull answers when nobody listens at the registry: nothing does on a local one, and no other
// name resolves.
func (f Flavor) unreachable(ref string) error {
	host, path, found := strings.Cut(ref, "/")
	if !found {
		host, path = "registry-1.docker.io", "library/"+ref
	}
	path, tag, found := strings.Cut(path, ":")
	if !found {
		tag = "latest"
	}
	name, port, found := strings.Cut(host, ":")
	if !found {
		port = "443"
	}
	dial := fmt.Sprintf("dial tcp: lookup %s: no such host", name)
	if name == "localhost" {
		dial = fmt.Sprintf("dial tcp 127.0.0.1:%s: connect: connection refused", port)
	}
	return f.refuse(pullFails, "image", ref, "host", host, "path", path, "tag", tag, "dial", dial)
}
