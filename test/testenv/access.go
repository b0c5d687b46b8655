package testenv

import (
	"github.com/containerd/containerd/v2/client"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Version returns which containerd the node runs.
func (n *Node) Version() Version { return n.version }

// Endpoint returns the address of the CRI socket, which serves containerd's
// own API too, as unix:///path.
func (n *Node) Endpoint() string { return "unix://" + n.layout.socket() }

// Socket returns the path of the socket behind Endpoint.
func (n *Node) Socket() string { return n.layout.socket() }

// Runtime returns the CRI runtime client. It survives Restart.
func (n *Node) Runtime() runtimeapi.RuntimeServiceClient { return n.runtime }

// Images returns the CRI image client. It survives Restart.
func (n *Node) Images() runtimeapi.ImageServiceClient { return n.images }

// Containerd returns the client of containerd's own API, in the namespace of
// CRI unless the context names another. The node closes it.
func (n *Node) Containerd() *client.Client { return n.containerd }

// Dir returns the directory that holds everything of the node.
func (n *Node) Dir() string { return n.layout.dir }

// KubeletRoot returns what /var/lib/kubelet is on a real node.
func (n *Node) KubeletRoot() string { return n.layout.kubelet() }

// PodLogs returns what /var/log/pods is on a real node.
func (n *Node) PodLogs() string { return n.layout.podLogs() }

// State returns containerd's state directory, where the shims' bundles are.
func (n *Node) State() string { return n.layout.state() }

// RuncRoot returns the directory where runc keeps its containers' state, by
// containerd namespace.
func (n *Node) RuncRoot() string { return n.layout.at("runc") }

// Runc returns the path of the OCI runtime that the node uses.
func (n *Node) Runc() string { return n.bin.runc }

// Log returns the path of containerd's log.
func (n *Node) Log() string { return n.layout.log() }

// Cgroup returns the parent of all cgroups of the node's pods, as a path from
// the root of each hierarchy.
func (n *Node) Cgroup() string { return n.record.cgroup() }

// PID returns containerd's process ID; Restart changes it.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.daemon.PID()
}
