// Package config reads what an administrator may set once for a node instead
// of with flags each time: /etc/porthole/config.yaml and PORTHOLE_* variables.
// Precedence is flag, then variable, then file, then default:
//
//	c, err := config.Load(path, explicit) // the defaults, and the file over them
//	c, err = c.FromEnv(os.Environ())      // the variables over that
//	… and the flags that are set over that
//
// It knows every key there is and refuses all others: a misspelt limit would
// be no limit. All its errors are errdefs.ErrInvalidArgument unless they say
// otherwise, and name the file or variable, the key, the value, and what it
// should be.
//
// Not here: flags (cmd/porthole has them), who may do what (a policy is not a
// preference), and whether a profile or an endpoint exists.
package config

import (
	"time"

	"github.com/containerd/errdefs"
)

// DefaultPath is where Load is pointed unless a flag or variable says else.
const DefaultPath = "/etc/porthole/config.yaml"

// Config holds every setting. Keys of the file are given in brackets.
type Config struct {
	// RuntimeEndpoint [runtimeEndpoint] is the CRI socket, a path or a unix://
	// URL; empty means to look for one.
	RuntimeEndpoint string
	// ImageEndpoint [imageEndpoint] is the CRI image service's socket; empty
	// means RuntimeEndpoint.
	ImageEndpoint string
	// Namespace [namespace] is the Kubernetes namespace of pods given without;
	// empty means that any will do.
	Namespace string
	// KubeletRoot [kubeletRoot] is kubelet's --root-dir; empty means to find it.
	KubeletRoot string
	// StaticPodPath [staticPodPath] is kubelet's directory, or file, of static pod
	// manifests; empty means to find it.
	StaticPodPath string
	// StateDir [stateDir] holds what must survive a restart of the node.
	StateDir string
	// Timeout [timeout] bounds one call to the runtime, except pulls.
	Timeout time.Duration
	// PullTimeout [pullTimeout] bounds the pull of one image.
	PullTimeout time.Duration
	// Debug [debug] is about debug containers.
	Debug Debug
}

// Debug holds the settings of debug containers.
type Debug struct {
	// Image [debug.image] is used where none is given; empty means that one
	// must be.
	Image string
	// Profile [debug.profile] names the profile used where none is given.
	Profile string
	// TTL [debug.ttl] is how long a session lasts unless it asks for more; at
	// most MaxTTL.
	TTL time.Duration
	// MaxTTL [debug.maxTTL] is the most that a session may ask for. No
	// variable sets it: what a caller's environment raises is no limit.
	MaxTTL time.Duration
}

// Default is what holds without file and variables. The profile is kubectl's.
func Default() Config {
	return Config{
		StateDir:    "/var/lib/porthole",
		Timeout:     10 * time.Second,
		PullTimeout: 5 * time.Minute,
		Debug:       Debug{Profile: "general", TTL: time.Hour, MaxTTL: 8 * time.Hour},
	}
}

// invalid is an error whose text is complete, so the class is not part of it.
type invalid string

func (e invalid) Error() string { return string(e) }

// Unwrap gives the class.
func (invalid) Unwrap() error { return errdefs.ErrInvalidArgument }
