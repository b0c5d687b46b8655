package critest

import (
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Flavor says whose manners a server has where runtimes differ. Its value is the runtime's name in VersionResponse.
type Flavor string

// The two runtimes that were recorded.
const (
	Containerd Flavor = "containerd"
	CRIO       Flavor = "cri-o"
)

// edge is a situation that at least one of the runtimes refuses.
type edge int

const (
	noContainer           edge = iota // {id} {reason}
	noContainerToAttach               // {id} {reason}
	noSandbox                         // {id} {reason}
	noSandboxToCreateIn               // {id} {reason}
	sandboxNotReady                   // {id}
	nameTaken                         // {name} {holder}
	noImage                           // {image}
	noUserSpecifiedImage              //
	privilegedInPlainPod              // {id}
	targetUnknown                     // {id} {target} {reason}
	targetElsewhere                   // {id} {target} {theirs} {ours}
	targetNotRunning                  // {id} {target} {state}
	usernsDiffers                     // {id} {ours} {theirs}
	logDirectoryMissing               //
	commandMissingAtStart             // {command}
	commandMissingAtMake              // {command} {time}
	notCreated                        // {id} {state} {status}
	attachNotRunning                  // {state}
	attachStreams                     // {reason}
	pullFails                         // {image} {host} {path} {tag} {dial}
)

// refusal is what a runtime says in an edge; {words} are filled in by the caller.
type refusal struct {
	code codes.Code
	text string
}

// manners holds every refusal; an edge that a flavor does not list is one that it accepts. All are words of the
// recorded runtimes (TestReplay compares them), but for those marked "read", which come from the runtime's source.
var manners = map[Flavor]map[edge]refusal{
	Containerd: {
		noContainer:           {codes.NotFound, `an error occurred when try to find container "{id}": {reason}`},
		noContainerToAttach:   {codes.NotFound, `failed to find container in store: {reason}`},
		noSandbox:             {codes.NotFound, `an error occurred when try to find sandbox: {reason}`},
		noSandboxToCreateIn:   {codes.NotFound, `failed to find sandbox id "{id}": {reason}`}, // read
		sandboxNotReady:       {codes.Unknown, `sandbox container "{id}" is not running`},     // read
		nameTaken:             {codes.FailedPrecondition, `failed to reserve container name "{name}"; check if another CreateContainer request is in progress: name "{name}" is reserved for "{holder}"`},
		noImage:               {codes.NotFound, `failed to resolve image "{image}": not found`},
		privilegedInPlainPod:  {codes.Unknown, specFails + `no privileged container allowed in sandbox`},
		targetUnknown:         {codes.NotFound, specFails + `invalid target container: container "{target}" does not exist: {reason}`},
		targetElsewhere:       {codes.Unknown, specFails + `invalid target container: container "{target}" (sandbox {theirs}) does not belong to sandbox {ours}`}, // read
		targetNotRunning:      {codes.Unknown, specFails + `invalid target container: container "{target}" is not running - in state {state}`},
		usernsDiffers:         {codes.Unknown, specFails + `user namespace config for sandbox is different from container. Sandbox userns config: {ours} - Container userns config: {theirs}`},
		commandMissingAtStart: {codes.Unknown, `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "{command}": stat {command}: no such file or directory`},
		notCreated:            {codes.Unknown, `failed to set starting state for container "{id}": container is in {state} state`},
		attachNotRunning:      {codes.Unknown, `container is in {state} state`},
		attachStreams:         {codes.InvalidArgument, `{reason}`},
		pullFails:             {codes.Unknown, `failed to pull and unpack image "{image}": failed to resolve image: failed to do request: Head "https://{host}/v2/{path}/manifests/{tag}": {dial}`},
	},
	CRIO: {
		noContainer:          {codes.NotFound, crioNoContainer},
		noContainerToAttach:  {codes.Unknown, crioNoContainer},
		noSandbox:            {codes.NotFound, `could not find pod "{id}": PodSandbox with ID starting with {id} not found: {reason}`},
		noSandboxToCreateIn:  {codes.Unknown, `specified sandbox not found: {id}: PodSandbox with ID starting with {id} not found: {reason}`}, // read
		sandboxNotReady:      {codes.Unknown, `CreateContainer failed as the sandbox was stopped: {id}`},                                      // read
		noImage:              {codes.Unknown, `reference "[overlay@/var/lib/containers/storage+/run/containers/storage]{image}" does not resolve to an image ID`},
		noUserSpecifiedImage: {codes.Unknown, `user specified image not specified, cannot verify image signature`},
		privilegedInPlainPod: {codes.Unknown, `no privileged container allowed in sandbox`},
		targetUnknown:        {codes.Unknown, `target PID namespace specified with invalid target ID`},
		targetNotRunning:     {codes.Unknown, `target PID namespace find PID: container process not found`},
		logDirectoryMissing:  {codes.Unknown, `container create failed: exit status 1`}, // seen; only the last three words were noted
		commandMissingAtMake: {codes.Unknown, "container create failed: time=\"{time}\" level=error msg=\"runc create failed: unable to start container process: error during container init: exec: \\\"{command}\\\": stat {command}: no such file or directory\"\n"},
		notCreated:           {codes.Unknown, `container {id} is not in created state: {status}`},
		attachStreams:        {codes.Unknown, `unable to prepare attach endpoint`},
		pullFails:            {codes.Unknown, `RegistryUnavailable: unable to pull image: initializing source docker://{image}: pinging container registry {host}: Get "https://{host}/v2/": {dial}`},
	},
}

const (
	specFails       = `failed to generate container "{id}" spec: failed to generate spec opts: `
	crioNoContainer = `could not find container "{id}": container with ID starting with {id} not found: {reason}`
)

// refuse returns what a runtime of this flavor answers in the edge, nil where it does not mind. The words come in
// pairs: the name of a {word} of the edge, and its value.
func (f Flavor) refuse(e edge, words ...string) error {
	r, minds := manners[f][e]
	if !minds {
		return nil
	}
	var pairs []string
	for i := 0; i+1 < len(words); i += 2 {
		pairs = append(pairs, "{"+words[i]+"}", words[i+1])
	}
	return status.Error(r.code, strings.NewReplacer(pairs...).Replace(r.text))
}

// absent returns the refusal for an ID that index could not resolve. An ambiguous prefix is found too often rather
// than not found, and containerd's code says so.
func (f Flavor) absent(e edge, id string, why error) error {
	reason := why.Error()
	if f == Containerd && errors.Is(why, errUnknownID) {
		reason = "not found"
	}
	err := f.refuse(e, "id", id, "reason", reason)
	if f == Containerd && !errors.Is(why, errUnknownID) {
		return status.Error(codes.Unknown, status.Convert(err).Message())
	}
	return err
}
