package cri

import (
	"regexp"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// foreignKernels are names by which runtimes that run pods on another kernel
// than the node's are known: virtual machines (Kata and its relatives) and
// kernels in user space (gVisor).
var foreignKernels = regexp.MustCompile(`(?i)\b(kata[a-z0-9]*|runsc|gvisor|firecracker|cloud hypervisor|qemu|stratovirt|kuasar|quark|urunc|hyperv|runhcs|wasm[a-z]*|spin)\b`)

// separators stand between the words of a name such as io.containerd.kata-qemu.v2.
var separators = strings.NewReplacer("_", " ", "-", " ", ".", " ")

// foreignKernel names the runtime of a sandbox that does not run on the node's
// kernel, or is empty. containerd tells the shim and the program that it uses;
// of CRI-O only the handler's name is known, which an administrator chose.
func foreignKernel(status *runtimeapi.PodSandboxStatus, info sandboxInfo) string {
	said := []string{info.RuntimeType}
	if info.RuntimeType == "" {
		said = []string{status.GetRuntimeHandler(), info.RuntimeSpec.Annotations[crioHandler]}
	}
	if options, ok := info.Options.(map[string]any); ok {
		// runc's shim can be told to use another program (BinaryName), such as runsc.
		for _, key := range []string{"BinaryName", "binary_name", "TypeUrl", "type_url", "ConfigPath", "config_path"} {
			if text, ok := options[key].(string); ok {
				said = append(said, text)
			}
		}
	}
	for _, text := range said {
		if foreignKernels.MatchString(separators.Replace(text)) {
			return text
		}
	}
	return ""
}
