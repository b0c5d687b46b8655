package critest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// specialise makes the exchanged template the runtime spec of this container: process, mounts, annotations and
// namespaces. What a request can ask for beyond that (seccomp, devices, the capabilities of a privileged container)
// stays as in the template.
func (c *creation) specialise(spec object) error {
	config := c.req.GetConfig()
	process, _ := spec["process"].(object)
	linux, _ := spec["linux"].(object)
	annotations, _ := spec["annotations"].(object)
	mounts, _ := spec["mounts"].([]any)
	if process == nil || linux == nil || annotations == nil || mounts == nil {
		return fmt.Errorf("recording %q: the runtime spec of the debug container is not one", c.s.rec.name)
	}
	c.specialiseProcess(process)
	for _, m := range config.GetMounts() {
		mounts = slices.DeleteFunc(mounts, func(old any) bool { // a pod's own /etc/hosts replaces the runtime's
			o, _ := old.(object)
			return o["destination"] == m.GetContainerPath()
		})
		access := "rw"
		if m.GetReadonly() {
			access = "ro"
		}
		mounts = append(mounts, object{
			"destination": m.GetContainerPath(), "type": "bind", "source": m.GetHostPath(),
			"options": []string{"rbind", "rprivate", access},
		})
	}
	spec["mounts"] = mounts
	if config.GetLinux().GetSecurityContext().GetReadonlyRootfs() {
		root, _ := spec["root"].(object)
		root["readonly"] = true
	}
	namespaces, err := c.podNamespaces()
	if err != nil {
		return err
	}
	linux["namespaces"] = c.withPidNamespace(namespaces)
	if c.s.flavor == Containerd {
		c.annotateContainerd(annotations)
		return nil
	}
	if host, named := spec["hostname"]; named && host != c.hostname() {
		spec["hostname"] = c.hostname()
	}
	return c.annotateCRIO(annotations)
}

func (c *creation) specialiseProcess(process object) {
	config := c.req.GetConfig()
	sc := config.GetLinux().GetSecurityContext()
	process["args"] = c.argv()
	env, _ := process["env"].([]any)
	process["env"] = c.environment(env)
	user := c.user().GetLinux()
	process["user"] = object{"uid": user.GetUid(), "gid": user.GetGid(), "additionalGids": user.GetSupplementalGroups()}
	if config.GetTty() {
		process["terminal"] = true
	}
	if sc.GetNoNewPrivs() {
		process["noNewPrivileges"] = true
	}
	if dir := config.GetWorkingDir(); dir != "" {
		process["cwd"] = dir
	}
	sets, _ := process["capabilities"].(object)
	for name, set := range sets {
		if sets[name] = withCapabilities(set, sc.GetCapabilities()); len(sets[name].([]any)) == 0 {
			delete(sets, name)
		}
	}
}

// environment is the template's with this image's variables for that image's, and the request's over all.
func (c *creation) environment(env []any) []any {
	theirs := c.s.node.image(c.s.node.template.status.GetImageId()).config().Env
	env = slices.DeleteFunc(env, func(e any) bool { s, _ := e.(string); return slices.Contains(theirs, s) })
	for i, e := range env {
		if s, _ := e.(string); strings.HasPrefix(s, "HOSTNAME=") && c.hostname() != "" {
			env[i] = "HOSTNAME=" + c.hostname()
		}
	}
	ours := []any{}
	for _, e := range c.image.config().Env {
		ours = append(ours, e)
	}
	if c.s.flavor == CRIO { // has its own PATH in the template, before the image's
		env = append(env, ours...)
	} else {
		if !slices.ContainsFunc(ours, isPath) {
			ours = append([]any{defaultPath}, ours...)
		}
		env = append(ours, env...)
	}
	for _, e := range c.req.GetConfig().GetEnvs() {
		env = slices.DeleteFunc(env, func(old any) bool {
			s, _ := old.(string)
			return strings.HasPrefix(s, e.GetKey()+"=")
		})
		env = append(env, e.GetKey()+"="+string(e.GetValue()))
	}
	return env
}

// defaultPath is what containerd gives to an image without a PATH.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func isPath(e any) bool {
	s, _ := e.(string)
	return strings.HasPrefix(s, "PATH=")
}

func withCapabilities(set any, change *runtimeapi.Capability) []any {
	caps, _ := set.([]any)
	drop, add := change.GetDropCapabilities(), change.GetAddCapabilities()
	caps = slices.DeleteFunc(slices.Clone(caps), func(c any) bool {
		s, _ := c.(string)
		return slices.Contains(drop, "ALL") || slices.Contains(drop, strings.TrimPrefix(s, "CAP_"))
	})
	for _, name := range add {
		if full := any("CAP_" + strings.TrimPrefix(name, "CAP_")); !slices.Contains(caps, full) {
			caps = append(caps, full)
		}
	}
	return caps
}

// hostname is what the container's HOSTNAME says, empty where the runtime takes the node's.
func (c *creation) hostname() string {
	sc := c.req.GetSandboxConfig()
	if name := sc.GetHostname(); name != "" || c.s.flavor == Containerd {
		return name
	}
	return sc.GetMetadata().GetName()
}

// withPidNamespace puts the pid namespace that the request asks for among those of the pod.
func (c *creation) withPidNamespace(namespaces []any) []any {
	isPid := func(n any) bool {
		o, _ := n.(object)
		return o["type"] == "pid"
	}
	rest := slices.DeleteFunc(slices.Clone(namespaces), isPid)
	own := object{"type": "pid"}
	switch mode := c.namespaces().GetPid(); {
	case mode == runtimeapi.NamespaceMode_NODE && c.s.flavor == CRIO:
		return rest
	case mode == runtimeapi.NamespaceMode_NODE, mode == runtimeapi.NamespaceMode_POD: // a sandbox on the node's is there too
		var sandbox struct{ Pid int }
		_ = json.Unmarshal([]byte(c.sb.info["info"]), &sandbox)
		own["path"] = fmt.Sprintf("/proc/%d/ns/pid", sandbox.Pid)
	case c.target == nil || c.s.hooks.targetIgnored:
	case c.s.flavor == CRIO: // binds the target's namespace to a name of its own
		own["path"] = fmt.Sprintf("/run/crio/ns/pidns/pid%d", c.target.pid())
	default:
		own["path"] = fmt.Sprintf("/proc/%d/ns/pid", c.target.pid())
	}
	return slices.Insert(rest, 0, any(own))
}

func (c *creation) annotateContainerd(a object) {
	pod, config := c.req.GetSandboxConfig().GetMetadata(), c.req.GetConfig()
	name := config.GetImage().GetUserSpecifiedImage()
	if name == "" {
		name = config.GetImage().GetImage()
	}
	const prefix = "io.kubernetes.cri."
	a[prefix+"container-name"] = config.GetMetadata().GetName()
	a[prefix+"image-name"] = name
	a[prefix+"sandbox-id"] = c.sb.list.GetId()
	a[prefix+"sandbox-name"] = pod.GetName()
	a[prefix+"sandbox-namespace"] = pod.GetNamespace()
	a[prefix+"sandbox-uid"] = pod.GetUid()
}

// annotateCRIO writes CRI-O's own annotations, and the pod's and the container's, all of which it mixes into one map.
func (c *creation) annotateCRIO(a object) error {
	old, config := c.s.node.template.request, c.req.GetConfig()
	stale := []map[string]string{
		old.GetSandboxConfig().GetAnnotations(), old.GetSandboxConfig().GetLabels(),
		old.GetConfig().GetAnnotations(), old.GetConfig().GetLabels(),
	}
	for _, set := range stale {
		maps.DeleteFunc(a, func(k string, _ any) bool { _, is := set[k]; return is })
	}
	fresh := []map[string]string{
		c.req.GetSandboxConfig().GetAnnotations(), c.req.GetSandboxConfig().GetLabels(),
		config.GetAnnotations(), config.GetLabels(),
	}
	for _, set := range fresh {
		for k, v := range set {
			a[k] = v
		}
	}
	const prefix = "io.kubernetes.cri-o."
	a[prefix+"TTY"] = fmt.Sprint(config.GetTty())
	a[prefix+"Stdin"] = fmt.Sprint(config.GetStdin())
	a[prefix+"StdinOnce"] = fmt.Sprint(config.GetStdinOnce())
	a[prefix+"IP.0"] = c.sb.status.GetNetwork().GetIp()
	encoded := map[string]any{
		"Labels": config.GetLabels(), "Annotations": config.GetAnnotations(), "Metadata": config.GetMetadata(),
	}
	for key, value := range encoded {
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		a[prefix+key] = string(text)
	}
	return nil
}
