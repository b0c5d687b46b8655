// Package kubelet knows what this node's kubelet was started with: where it
// keeps things (its root with the pods' directories, the pods' logs, and the
// manifests of static pods) and the settings that decide about a container.
//
// Its one idea is *what was kubelet told*, and therefore it may look at the
// /proc directory it is given, for command lines. What does not belong here:
// namespaces (package nsjoin), anything CRI (callers hand over plain strings),
// and what is in the directories: a pod's own is package poddir's, its spec
// package podspec's.
//
// # Order
//
// Each path is taken from the first that tells it: what the operator said; the
// target itself, whose mounts and log directory kubelet made; a running
// kubelet's flags and configuration; the usual places. A [Source] says which,
// and [Paths.Notes] what was passed over and why. [Settings] come from the
// running kubelet alone, and a value that it does not tell is not known.
//
// # Whom it believes
//
// Anybody can call a process kubelet, and a wrong root would make a root-owned
// tool bind-mount files of a stranger's choosing. A process is believed only if
// all its user ids are 0 and it lives in the mount namespace of the caller or of
// PID 1. Its configuration, with the drop-ins of --config-dir, is read only if
// it shares the caller's mount namespace and root, so that the paths mean the
// same files to both; it is never followed into another one.
//
// The target's mounts are data that a pod's author has a hand in (hostPath), so
// they count only if all that look like kubelet's own name the same root.
package kubelet
