package runtime

import (
	corev1 "k8s.io/api/core/v1"
)

// NamespaceMode says whose namespace of a kind a container lives in, in the
// words of the CRI.
type NamespaceMode string

// The modes. ModeTarget is for the PID namespace only.
const (
	ModePod       NamespaceMode = "POD"
	ModeContainer NamespaceMode = "CONTAINER"
	ModeNode      NamespaceMode = "NODE"
	ModeTarget    NamespaceMode = "TARGET"
)

// IDMap is one line of a user namespace's mapping.
type IDMap struct{ Host, Container, Length uint32 }

// UserNamespace is how a sandbox maps users. A zero value means that the
// sandbox was created without saying (only sandboxes not made by kubelet are).
type UserNamespace struct {
	Mode NamespaceMode
	UIDs []IDMap
	GIDs []IDMap
}

// SecurityProfile is a seccomp or AppArmor profile.
type SecurityProfile struct {
	// Type is RuntimeDefault, Unconfined or Localhost, as in the Kubernetes API.
	Type string
	// Ref is the profile's file or name for Localhost.
	Ref string
}

// Sandbox is what the rung learnt of the pod's sandbox: the values it was
// created with, as far as the runtime tells.
type Sandbox struct {
	PID int // 0 when the sandbox has no process of its own
	// Kernel names the VM or user-space kernel that the sandbox's containers run
	// on; it is empty when that is the node's own.
	Kernel       string
	Network      NamespaceMode
	ProcessIDs   NamespaceMode
	IPC          NamespaceMode
	Users        UserNamespace
	LogDirectory string
	CgroupParent string
	Privileged   bool
	IPs          []string

	// What kubelet writes of the pod-level security context into the sandbox's.
	// UsersKnown is false where the runtime does not keep it (CRI-O).
	UsersKnown         bool
	RunAsUser          *int64
	RunAsGroup         *int64
	SupplementalGroups []int64
	StrictGroups       bool // supplementalGroupsPolicy: Strict
	SELinux            *corev1.SELinuxOptions
}

// Mount is one file or directory of the host, or an image, shown in the
// container.
type Mount struct {
	HostPath          string
	ContainerPath     string
	ReadOnly          bool
	RecursiveReadOnly bool
	Relabel           bool
	// Propagation is that of the API; empty is none.
	Propagation corev1.MountPropagationMode
	// Image is the image to be mounted in place of a host path, and SubPath the
	// path in it.
	Image   *Image
	SubPath string
	Options []string // noexec, nodev, nosuid
}

// Device is one device file of the host shown in the container.
type Device struct{ HostPath, ContainerPath, Permissions string }

// Target is the container whose PID namespace is to be shared, and what the
// rung learnt of how it was created. Fields that the runtime would not tell
// are empty.
type Target struct {
	Container
	PID int
	// Env is what kubelet asked for, Environ the whole environment of the
	// process, the image's own included.
	Env     []EnvVar
	Environ []EnvVar
	Mounts  []Mount
	Devices []Device
	// Security is the effective security context. Its users are those that the
	// process was started with.
	Security Security
	// SecurityKnown is false when the runtime tells nothing of it.
	SecurityKnown bool
	OOMScoreAdj   *int64
	HugepageSizes []string
	// CPUPeriod is nil when it is not told; 0 says that kubelet enforces no quotas.
	CPUPeriod *int64
	Unified   map[string]string
}

// EnvVar is one environment variable.
type EnvVar struct{ Name, Value string }

// KubeletFiles are the host paths that kubelet prepared for the pod; a path is
// empty when it is not there.
type KubeletFiles struct {
	EtcHosts       string
	TerminationLog string // made for this container by the caller of the plan
	// ContainerDir is where that is made, a directory that is the container's
	// alone.
	ContainerDir string
	// Volumes and Devices are the volumes that the spec refers to, by name.
	Volumes map[string]Volume
	Devices map[string]Volume
	// ConfigMaps and Secrets are the objects that the spec refers to, by name, as
	// far as the pod's volumes hold them; EnvFiles holds what it refers to in files
	// of volumes, by FileKey.
	ConfigMaps, Secrets map[string]Object
	EnvFiles            map[FileKey]EnvFile
}

// Volume is where kubelet has put a volume of the pod.
type Volume struct {
	HostPath string
	ReadOnly bool // as the volume itself is, whatever the mount says
	Relabel  bool // whether kubelet relabels it on a node with SELinux
	// Image is set for a volume that is an image; it has no host path.
	Image *Image
	// Err says why it is not known; the other fields are then empty.
	Err error
}

// Object is what the node holds of a ConfigMap or Secret.
type Object struct {
	Data     map[string]string
	Complete bool // whether Data is all of it
	// Missing are keys known not to be in it, where Data is not all of it.
	Missing []string
	// Err says why it is not known, or why Data is not complete.
	Err error
}

// FileKey is one variable in a file of a volume.
type FileKey struct{ Volume, Path, Key string }

// EnvFile is what was found of a FileKey.
type EnvFile struct {
	Value string
	Found bool
	Err   error // why the file could not be read
}

// Node is what the plan must know of the machine and of its kubelet's settings.
type Node struct {
	Name string
	// HugepageSizes and ThermalThrottle are what the node has of huge page sizes
	// (such as 2MB) and of /sys/devices/system/cpu/cpuN/thermal_throttle.
	HugepageSizes   []string
	ThermalThrottle []string
	Memory          int64 // bytes
	CgroupV2        bool
	SwapController  bool // whether containers' cgroups can limit swap
	SELinux         bool
	// What kubelet says of containers' memory on cgroup v2: whether an OOM kills one
	// process only, whether MemoryQoS is off, and how much of what it may have a
	// container is throttled at (0 for never).
	SingleProcessOOMKill, NoMemoryQoS bool
	MemoryThrottling                  float64
	// SharedCPUs is the CPU set of the static CPU manager's shared pool, empty for
	// all.
	SharedCPUs string
	// SeccompDefault is kubelet's setting, nil when it is not known. SeccompRoot is
	// where Localhost profiles are.
	SeccompDefault *bool
	SeccompRoot    string
	// Allocatable is what the node has for pods, nil when it is not known.
	Allocatable corev1.ResourceList
	// RecursiveReadOnly is whether the runtime can make mounts recursively
	// read-only.
	RecursiveReadOnly bool
}

// Facts is everything that the plan depends on besides the request.
type Facts struct {
	Runtime    string // name and version, for people
	Pod        Pod
	Containers []Container // all of the pod's, ours and dead ones included
	Sandbox    Sandbox
	Target     *Target // nil when the debug container gets a PID namespace of its own
	// Neighbour is, when there is no target, another container of the pod: what is
	// common to all of them is read from it. It is nil if there is none.
	Neighbour *Target
	// Spec is the pod as kubelet has it, with the API's defaults. It is nil when
	// nobody tells; SpecSource says for people who told, or why nobody did.
	Spec       *corev1.Pod
	SpecSource string
	// UsedNames are names of debug containers that the pod had and that are gone.
	UsedNames []string
	Image     Image
	Files     KubeletFiles
	Node      Node
	// Native is the rung's own knowledge of the sandbox, carried through the plan
	// to its rendering. Nobody else looks into it.
	Native any
}
