// Package podspec finds a pod's specification on the node itself, without the
// API server: it asks kubelet over its local Pods API ([Ask]), and reads the
// manifest of a static pod ([Static]).
//
// Its one idea is *what is the pod, says who runs it*. Both answers are
// complete v1.Pods with the API's defaults in them. Neither is ever required:
// each error says in one line why the source was passed over, and carries a
// class that tells "there is none" from "it did not answer".
//
// What does not belong here: where kubelet keeps things (package kubelet, which
// tells the paths that callers hand over), what lies in the pod's directory
// (package poddir), and anything that the runtime knows.
package podspec
