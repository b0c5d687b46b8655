package critest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// specTemplate is the verbose info of the debug container that was recorded while it ran. The info of a container
// created here is that one, with all that the two requests and their pods do not share exchanged.
type specTemplate struct {
	info    map[string]json.RawMessage
	request *runtimeapi.CreateContainerRequest
	status  *runtimeapi.ContainerStatus
}

// newSpecTemplate finds the debug container: the first one whose creation and running status were both recorded.
func newSpecTemplate(rec *Recording) (*specTemplate, error) {
	made := map[string]*runtimeapi.CreateContainerRequest{}
	for _, row := range rec.rows {
		switch resp := row.Response.(type) {
		case *runtimeapi.CreateContainerResponse:
			if _, again := made[resp.GetContainerId()]; !again {
				made[resp.GetContainerId()] = row.Request.(*runtimeapi.CreateContainerRequest)
			}
		case *runtimeapi.ContainerStatusResponse:
			req, ours := made[resp.GetStatus().GetId()]
			if !ours || resp.GetInfo() == nil {
				continue
			}
			t := &specTemplate{request: req, status: resp.GetStatus()}
			return t, json.Unmarshal([]byte(resp.GetInfo()["info"]), &t.info)
		}
	}
	return nil, fmt.Errorf("recording %q: no container was created and then described", rec.name)
}

// object is a JSON object whose numbers stay as they were written.
type object = map[string]any

func parseObject(raw []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var o object
	err := dec.Decode(&o)
	return o, err
}

// verboseInfo describes the container that the creation makes, not started yet.
func (c *creation) verboseInfo(status *runtimeapi.ContainerStatus) (map[string]string, error) {
	t := c.s.node.template
	spec, err := parseObject([]byte(c.exchange(t, status).Replace(string(t.info["runtimeSpec"]))))
	if err != nil {
		return nil, err
	}
	if err := c.specialise(spec); err != nil {
		return nil, err
	}
	fields := object{}
	for k, v := range t.info {
		fields[k] = v
	}
	fields["sandboxID"], fields["pid"], fields["runtimeSpec"] = c.sb.list.GetId(), 0, spec
	if c.s.flavor == Containerd {
		fields["config"], fields["snapshotKey"] = c.req.GetConfig(), c.id
	} else {
		fields["privileged"] = c.req.GetConfig().GetLinux().GetSecurityContext().GetPrivileged()
	}
	info, err := json.Marshal(fields)
	return map[string]string{"info": string(info)}, err
}

// exchange replaces the long, unmistakable names of the template and of its pod; the longest come first.
func (c *creation) exchange(t *specTemplate, status *runtimeapi.ContainerStatus) *strings.Replacer {
	pod := func(m *runtimeapi.PodSandboxMetadata) string {
		return fmt.Sprintf("%s_%s_%s_", m.GetName(), m.GetNamespace(), m.GetUid())
	}
	old, ours := t.request.GetSandboxConfig().GetMetadata(), c.req.GetSandboxConfig().GetMetadata()
	return strings.NewReplacer(
		containerName(t.request.GetConfig().GetMetadata(), old), c.name,
		t.status.GetLogPath(), c.logPath(),
		pod(old), pod(ours),
		t.status.GetId(), c.id,
		t.request.GetPodSandboxId(), c.sb.list.GetId(),
		old.GetUid(), ours.GetUid(),
		t.status.GetImageRef(), status.GetImageRef(),
		t.status.GetImageId(), status.GetImageId(),
		t.status.GetImage().GetImage(), status.GetImage().GetImage(),
	)
}

// argv is what the container runs: the request's command and arguments over the image's, by the rules of CRI.
func (c *creation) argv() []string {
	command, args := c.req.GetConfig().GetCommand(), c.req.GetConfig().GetArgs()
	if len(command) == 0 {
		command = c.image.config().Entrypoint
		if len(args) == 0 {
			args = c.image.config().Cmd
		}
	}
	return append(append([]string{}, command...), args...)
}

// podNamespaces returns the namespaces of the pod as the spec of a container in it names them.
func (c *creation) podNamespaces() ([]any, error) {
	infos := []map[string]string{}
	for _, other := range c.s.node.containers {
		if other.list.GetPodSandboxId() == c.sb.list.GetId() {
			infos = append(infos, other.info)
		}
	}
	infos = append(infos, c.sb.info) // a pod without a container, where it has to do
	info, err := parseObject([]byte(infos[0]["info"]))
	if err != nil {
		return nil, err
	}
	spec, _ := info["runtimeSpec"].(object)
	linux, _ := spec["linux"].(object)
	namespaces, ok := linux["namespaces"].([]any)
	if !ok {
		return nil, errors.New("the pod's recorded runtime spec has no namespaces")
	}
	return namespaces, nil
}
