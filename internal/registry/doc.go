// Package registry knows who may pull an image: Docker's configuration files,
// kubelet's credential provider plugins, and what the user says.
//
// Its one idea is *which credentials would kubelet try, and in which order*, by
// kubelet's own rules for what a credential is for (pkg/credentialprovider). A
// [Source] is one place to look; [Lookup] asks several. A place that does not
// answer never stops a pull: it is told as a [Notice].
//
// A [Credential] shows its secrets to who asks for them by name and to nobody
// else: not to fmt, JSON or slog, and no error or notice quotes what a file or
// a program said.
//
// What does not belong here: pulling, CRI's types, and finding out what kubelet
// was started with (callers hand over plain paths, from package kubelet).
package registry
