// Package runtime is the domain of Porthole: which pod is meant ([Ref],
// [Find]), what is asked for ([Request]), what is known about the node and the
// pod ([Facts]), and what will therefore be created ([Plan], a pure function of
// the two). It also says how a debug container is recognised afterwards
// ([Mark]) and how it ended ([Exit]).
//
// It speaks the Kubernetes API types and errdefs classes. What does not belong
// here: any runtime's own types, gRPC, system calls, files, clocks. A rung
// (package cri and its siblings) gathers the facts and renders the plan; this
// package never learns which rung that was.
//
// The package shares its name with the standard library's runtime, which is
// never needed here; elsewhere that one is imported as goruntime.
package runtime
