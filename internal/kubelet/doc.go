// Package kubelet knows where this node's kubelet keeps things: its root with
// the pods' directories, the pods' logs, and the manifests of static pods.
//
// Its one idea is *what was kubelet started with*, and therefore it may look at
// the /proc directory it is given, for command lines. What does not belong
// here: namespaces (package nsjoin), anything CRI (callers hand over plain
// strings), and the contents of the directories.
//
// # Order
//
// Each path is taken from the first that tells it: what the operator said; the
// target itself, whose mounts and log directory kubelet made; a running
// kubelet's flags and configuration; the usual places. A [Source] says which,
// and [Paths.Notes] what was passed over and why.
//
// # Whom it believes
//
// Anybody can call a process kubelet, and a wrong root would make a root-owned
// tool bind-mount files of a stranger's choosing. A process is believed only if
// all its user ids are 0 and it lives in the mount namespace of the caller or of
// PID 1. Its configuration file is read only if it shares the caller's mount
// namespace and root, so that the path means the same file to both; it is never
// followed into another one. The drop-ins of --config-dir are not read.
//
// The target's mounts are data that a pod's author has a hand in (hostPath), so
// they count only if all that look like kubelet's own name the same root.
package kubelet
