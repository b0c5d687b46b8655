package critest

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// node is the state of a runtime: at first what was recorded, then what the test made of it.
type node struct {
	version    *runtimeapi.VersionResponse
	status     *runtimeapi.StatusResponse
	config     *runtimeapi.RuntimeConfigResponse
	sandboxes  []*sandbox
	containers []*Container
	images     []*image
	template   *specTemplate
	madeUp     int // containers that were given a pid that nobody has
}

type sandbox struct {
	list   *runtimeapi.PodSandbox
	status *runtimeapi.PodSandboxStatus
	info   map[string]string
}

type image struct {
	list   *runtimeapi.Image
	status *runtimeapi.ImageStatusResponse // with info
}

// replay builds the node as it was before the first call that changes it.
func (s *Server) replay() (node, error) {
	var n node
	details := map[string]proto.Message{} // answers to Status calls, by ID
	for _, row := range s.rec.rows {
		if row.Code != codes.OK {
			continue
		}
		switch resp := proto.Clone(row.Response).(type) {
		case *runtimeapi.VersionResponse:
			n.version = resp
		case *runtimeapi.StatusResponse:
			n.status = resp
		case *runtimeapi.RuntimeConfigResponse:
			n.config = resp
		case *runtimeapi.ListPodSandboxResponse:
			for _, sb := range resp.GetItems() {
				n.sandboxes = append(n.sandboxes, &sandbox{list: sb})
			}
		case *runtimeapi.ListContainersResponse:
			for _, c := range resp.GetContainers() {
				n.containers = append(n.containers, newContainer(s, c))
			}
		case *runtimeapi.ListImagesResponse:
			for _, img := range resp.GetImages() {
				n.images = append(n.images, &image{list: img})
			}
		case *runtimeapi.PodSandboxStatusResponse:
			details[resp.GetStatus().GetId()] = resp
		case *runtimeapi.ContainerStatusResponse:
			details[resp.GetStatus().GetId()] = resp
		case *runtimeapi.ImageStatusResponse:
			details[resp.GetImage().GetId()] = resp
		}
	}
	if err := n.detail(details); err != nil {
		return node{}, fmt.Errorf("recording %q: %w", s.rec.name, err)
	}
	var err error
	n.template, err = newSpecTemplate(s.rec)
	return n, err
}

// detail gives everything that was listed its recorded status.
func (n *node) detail(details map[string]proto.Message) error {
	for _, sb := range n.sandboxes {
		resp, ok := details[sb.list.GetId()].(*runtimeapi.PodSandboxStatusResponse)
		if !ok {
			return fmt.Errorf("sandbox %q was listed, its status is not recorded", sb.list.GetId())
		}
		sb.status, sb.info = resp.GetStatus(), resp.GetInfo()
	}
	for _, c := range n.containers {
		resp, ok := details[c.list.GetId()].(*runtimeapi.ContainerStatusResponse)
		if !ok {
			return fmt.Errorf("container %q was listed, its status is not recorded", c.list.GetId())
		}
		c.status, c.info = resp.GetStatus(), resp.GetInfo()
		if sb, err := n.sandbox(c.list.GetPodSandboxId()); err == nil {
			c.name = containerName(c.list.GetMetadata(), sb.list.GetMetadata())
		}
	}
	for _, img := range n.images {
		resp, ok := details[img.list.GetId()].(*runtimeapi.ImageStatusResponse)
		if !ok {
			return fmt.Errorf("image %q was listed, its status is not recorded", img.list.GetId())
		}
		img.status = resp
	}
	return nil
}

func (n *node) sandbox(id string) (*sandbox, error) {
	return lookup(n.sandboxes, id, func(sb *sandbox) string { return sb.list.GetId() })
}

func (n *node) container(id string) (*Container, error) {
	return lookup(n.containers, id, func(c *Container) string { return c.list.GetId() })
}

// image finds an image by its ID or an unambiguous prefix, with or without the algorithm, by tag or by digest; a
// reference without either means the tag latest. It returns nil when there is none.
func (n *node) image(ref string) *image {
	for _, img := range n.images {
		names := slices.Concat(img.list.GetRepoTags(), img.list.GetRepoDigests())
		if slices.Contains(names, ref) || slices.Contains(names, ref+":latest") {
			return img
		}
	}
	img, _ := lookup(n.images, strings.TrimPrefix(ref, "sha256:"), func(img *image) string {
		return strings.TrimPrefix(img.list.GetId(), "sha256:")
	})
	return img
}

// containerName is the name that a runtime reserves for a container: the same one for the same name and attempt in
// the same pod, whoever asks.
func containerName(c *runtimeapi.ContainerMetadata, sb *runtimeapi.PodSandboxMetadata) string {
	return fmt.Sprintf("%s_%s_%s_%s_%d", c.GetName(), sb.GetName(), sb.GetNamespace(), sb.GetUid(), c.GetAttempt())
}
