// Package critest is a CRI v1 runtime for tests: a real gRPC server on a real unix socket that answers with what a
// real containerd or CRI-O answered on a node full of pods, keeps state for the containers a test creates, streams
// attach over SPDY, writes CRI log files, and breaks on request in the ways a real runtime cannot be made to break.
//
//	s := critest.New(t, critest.WithRecording(critest.Load(t, "crio-1.37")))
//	s.On("CreateContainer").AfterEffect().Hang().Times(1) // created, and nobody is told
//	conn, err := grpc.NewClient(s.Endpoint(), …)
//
// Sandboxes, containers and images are those of the recording. What follows from the recording (IDs, states, verbose
// info, refusals and their words) is exact; TestReplay holds every recorded row against the server. Two things are
// not the recording's: /var/log/pods is moved to [Server.LogRoot], so that no test needs root, and the pid of a
// container started here is one that no process can have, unless [Server.OnStart] says which process it is. A pid
// that was recorded may be anybody's on this machine: give a target its own with [Container.SetPID].
//
// What does not belong here: a client of CRI (that is package cri), assertions, and anything that mounts, pulls or
// joins a namespace. What no recording shows is not modelled, but for the few refusals that package source marks as
// read rather than seen.
package critest
