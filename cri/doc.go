// Package cri is the rung that speaks the Container Runtime Interface, and the
// only room that does: where the runtime listens ([Endpoints]), who a pod is
// ([Client.Resolve]), what kubelet would ask for it (the plan's rendering,
// [Client.Request]), creating and starting that ([Client.Launch]), and its streams,
// spliced from the CRI log and one attach so that no byte is lost
// ([Container.Stream]).
//
// The two runtimes it is made for, containerd and CRI-O, differ in a dozen
// edges; the code says where, and critest replays the answers recorded from
// both.
//
// What does not belong here: the decision what to create (package runtime),
// namespaces and /proc (package nsjoin), terminals, policy.
package cri
