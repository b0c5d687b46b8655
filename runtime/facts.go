package runtime

import "strings"

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
	PID          int // 0 when the sandbox has no process of its own
	Network      NamespaceMode
	ProcessIDs   NamespaceMode
	IPC          NamespaceMode
	Users        UserNamespace
	LogDirectory string
	CgroupParent string
	Privileged   bool

	// The pod-level security context, which kubelet writes into the sandbox's.
	RunAsUser          *int64
	RunAsGroup         *int64
	SupplementalGroups []int64
	StrictGroups       bool // supplementalGroupsPolicy: Strict
}

// Mount is one file or directory of the host shown in the container.
type Mount struct {
	HostPath      string
	ContainerPath string
	ReadOnly      bool
	Relabel       bool
}

// Target is the container whose PID namespace is to be shared, and what the
// rung learnt of how it was created. Fields that the runtime would not tell
// are empty.
type Target struct {
	Container
	PID           int
	Env           []EnvVar
	Mounts        []Mount
	MaskedPaths   []string
	ReadonlyPaths []string
	Seccomp       *SecurityProfile
	OOMScoreAdj   *int64
	HugepageSizes []string
}

// EnvVar is one environment variable.
type EnvVar struct{ Name, Value string }

// Image is an image on the node.
type Image struct {
	Ref      string // as the user wrote it
	ID       string // as the runtime knows it
	UID      *int64 // the image's own numeric user, if it has one
	Username string // else its user by name, if it has one
}

// KubeletFiles are the host paths that kubelet prepared for the pod; a path is
// empty when it is not there.
type KubeletFiles struct {
	EtcHosts       string
	TerminationLog string // made for this container by the caller of the plan
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
	Image     Image
	Files     KubeletFiles
	// HugepageSizes and ThermalThrottle are what the node has of huge page sizes
	// (such as 2MB) and of /sys/devices/system/cpu/cpuN/thermal_throttle.
	HugepageSizes   []string
	ThermalThrottle []string
	// Native is the rung's own knowledge of the sandbox, carried through the plan
	// to its rendering. Nobody else looks into it.
	Native any
}

// sharesTarget reports whether TARGET mode applies: there is a target and the
// pod's PID namespaces are per container. With hostPID or
// shareProcessNamespace kubelet ignores the target silently, since its
// processes are visible anyway (kubelet generateLinuxContainerConfig).
func (f *Facts) sharesTarget() bool {
	return f.Target != nil && f.Sandbox.ProcessIDs == ModeContainer
}

// sibling is a container of the pod from which to read what is common to all.
func (f *Facts) sibling() *Target {
	if f.Target != nil {
		return f.Target
	}
	return f.Neighbour
}

// qosOOMScore is kubelet's GetContainerOOMScoreAdjust for an ephemeral
// container, whose requests are always zero: by the pod's QoS class, which is
// read from the pod's cgroup and, where that is not kubelet's, from the
// target's own score.
func (f *Facts) qosOOMScore() int64 {
	const guaranteed, burstable, bestEffort = -997, 999, 1000
	parent := f.Sandbox.CgroupParent
	switch {
	case strings.Contains(parent, "besteffort"):
		return bestEffort
	case strings.Contains(parent, "burstable"):
		return burstable
	case strings.Contains(parent, "kubepods"):
		return guaranteed
	}
	sibling := f.sibling()
	if sibling == nil || sibling.OOMScoreAdj == nil {
		return bestEffort
	}
	switch score := *sibling.OOMScoreAdj; {
	case score == guaranteed, score == bestEffort:
		return score
	default:
		return burstable
	}
}
