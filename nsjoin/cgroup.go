package nsjoin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// Cgroups returns the text of /proc/PID/cgroup: lines of
// `hierarchy:controllers:path`, the path relative to the root of the reader's
// cgroup namespace.
func (p *Process) Cgroups() (string, error) {
	text, err := p.read("cgroup")
	if err != nil {
		return "", err
	}
	if err := p.Alive(); err != nil {
		return "", err
	}
	return text, nil
}

// InContainer reports whether the process runs in the cgroup of the container
// with this full ID, or below it. It is the check against a PID that was reused
// between the runtime's answer and [Pin].
//
// When the cgroup file tells nothing either way (every path is the root, as
// seen from the process's own cgroup namespace) the error is of class
// [errdefs.ErrUnknown]: the caller needs another proof, and must not read it as
// a no.
func (p *Process) InContainer(id string) (bool, error) {
	if id == "" || strings.ContainsAny(id, "/\n") {
		return false, fmt.Errorf("container %q: not a container id: %w", id, errdefs.ErrInvalidArgument)
	}
	text, err := p.Cgroups()
	if err != nil {
		return false, err
	}
	in, known := cgroupNames(text, id)
	if !known {
		return false, fmt.Errorf("process %d: its cgroup file names no cgroup, so container %.13q is neither confirmed nor ruled out: %w", p.pid, id, errdefs.ErrUnknown)
	}
	return in, nil
}

// cgroupNames looks for the container in the text of a cgroup file. Any one
// hierarchy that names it is enough: on a hybrid host some are left at the root.
func cgroupNames(text, id string) (in, known bool) {
	for line := range strings.Lines(text) {
		// The path may itself hold colons.
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		for name := range strings.SplitSeq(fields[2], "/") {
			// ".." is how a cgroup outside the reader's namespace begins.
			if name == "" || name == ".." {
				continue
			}
			known = true
			if slices.Contains(containerCgroups(id), name) {
				return true, true
			}
		}
	}
	return false, known
}

// containerCgroups lists the names that runtimes give a container's cgroup.
// A suffix match would not do: the monitor of a CRI-O container lives in
// `crio-conmon-ID.scope` and is no part of the container.
func containerCgroups(id string) []string {
	return []string{
		id,                                // containerd, cgroupfs
		"cri-containerd-" + id + ".scope", // containerd, systemd
		"crio-" + id,                      // CRI-O, cgroupfs
		"crio-" + id + ".scope",           // CRI-O, systemd
		"docker-" + id + ".scope",         // cri-dockerd, systemd
	}
}
