package cri

import (
	"encoding/json"
	"path"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// sandboxInfo is the verbose part of PodSandboxStatus. containerd gives all of
// it, CRI-O no config.
type sandboxInfo struct {
	PID         int                          `json:"pid"`
	RuntimeType string                       `json:"runtimeType"`
	Options     any                          `json:"runtimeOptions"`
	Config      *runtimeapi.PodSandboxConfig `json:"config"`
	RuntimeSpec runtimeSpec                  `json:"runtimeSpec"`
}

// containerInfo is the verbose part of ContainerStatus.
type containerInfo struct {
	PID         int                         `json:"pid"`
	Privileged  bool                        `json:"privileged"` // CRI-O only
	Config      *runtimeapi.ContainerConfig `json:"config"`
	RuntimeSpec runtimeSpec                 `json:"runtimeSpec"`
}

// runtimeSpec is the little that is read of an OCI runtime spec: it tells with
// what a process was started, whatever the runtime was asked for.
type runtimeSpec struct {
	Annotations map[string]string `json:"annotations"`
	Root        struct {
		ReadOnly bool `json:"readonly"`
	} `json:"root"`
	Process *struct {
		User struct {
			UID            int64   `json:"uid"`
			GID            int64   `json:"gid"`
			AdditionalGIDs []int64 `json:"additionalGids"`
		} `json:"user"`
		Env          []string `json:"env"`
		Capabilities struct {
			Bounding []string `json:"bounding"`
		} `json:"capabilities"`
		NoNewPrivileges bool   `json:"noNewPrivileges"`
		AppArmor        string `json:"apparmorProfile"`
		SELinux         string `json:"selinuxLabel"`
	} `json:"process"`
	Linux struct {
		CgroupsPath   string          `json:"cgroupsPath"`
		MaskedPaths   []string        `json:"maskedPaths"`
		ReadonlyPaths []string        `json:"readonlyPaths"`
		Seccomp       json.RawMessage `json:"seccomp"`
	} `json:"linux"`
}

// parseInfo reads the JSON that both runtimes put under the key "info". What
// is missing or cannot be read leaves into as it is: verbose information has
// no contract, and every use of it copes with its absence.
func parseInfo(info map[string]string, into any) {
	if text, ok := info["info"]; ok {
		_ = json.Unmarshal([]byte(text), into)
	}
}

// CRI-O's annotations on the runtime spec of a sandbox.
const (
	crioLogPath          = "io.kubernetes.cri-o.LogPath"
	crioHostname         = "io.kubernetes.cri-o.HostName"
	crioAnnotations      = "io.kubernetes.cri-o.Annotations"
	crioCgroupParent     = "io.kubernetes.cri-o.CgroupParent"
	crioNamespaceOptions = "io.kubernetes.cri-o.NamespaceOptions"
	crioPrivileged       = "io.kubernetes.cri-o.PrivilegedRuntime"
	crioResources        = "pod-linux-resources.crio.io"
	crioOverhead         = "pod-linux-overhead.crio.io"
	crioSeccomp          = "io.kubernetes.cri-o.SeccompProfilePath"
	crioHandler          = "io.kubernetes.cri-o.RuntimeHandler"
)

// storedSandbox is the configuration with which the sandbox was created: as
// the runtime stored it (containerd), or put together again from the status,
// the labels and the annotations of the runtime spec (CRI-O).
func storedSandbox(status *runtimeapi.PodSandboxStatus, info sandboxInfo) *runtimeapi.PodSandboxConfig {
	if info.Config != nil && info.Config.GetMetadata() != nil {
		// Kubelet numbers the sandboxes of a pod; the live one's number counts.
		info.Config.Metadata.Attempt = status.GetMetadata().GetAttempt()
		return info.Config
	}
	notes := info.RuntimeSpec.Annotations
	options := status.GetLinux().GetNamespaces().GetOptions()
	if options == nil {
		options = &runtimeapi.NamespaceOption{}
		_ = json.Unmarshal([]byte(notes[crioNamespaceOptions]), options)
	}
	config := &runtimeapi.PodSandboxConfig{
		Metadata:     status.GetMetadata(),
		Hostname:     notes[crioHostname],
		LogDirectory: logDirectory(notes[crioLogPath]),
		Labels:       withoutSandboxName(status.GetLabels()),
		Annotations:  status.GetAnnotations(),
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent: notes[crioCgroupParent],
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: options,
				Privileged:       notes[crioPrivileged] == "true",
				Seccomp:          &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
			},
		},
	}
	if options.GetNetwork() == runtimeapi.NamespaceMode_NODE {
		config.Hostname = "" // as kubelet leaves it for hostNetwork
	}
	config.Linux.Resources = fromAnnotation[runtimeapi.LinuxContainerResources](notes, crioResources)
	config.Linux.Overhead = fromAnnotation[runtimeapi.LinuxContainerResources](notes, crioOverhead)
	return config
}

func fromAnnotation[T any](notes map[string]string, key string) *T {
	value := new(T)
	if text, ok := notes[key]; !ok || json.Unmarshal([]byte(text), value) != nil {
		return nil
	}
	return value
}

// logDirectory is where CRI-O keeps the sandbox's own log, which is the pod's
// log directory.
func logDirectory(sandboxLog string) string {
	if !strings.HasPrefix(sandboxLog, "/") {
		return ""
	}
	return path.Dir(sandboxLog)
}

// withoutSandboxName drops the container name POD that CRI-O gives to a
// sandbox: kubelet did not ask for it.
func withoutSandboxName(labels map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range labels {
		if k != "io.kubernetes.container.name" {
			out[k] = v
		}
	}
	return out
}
