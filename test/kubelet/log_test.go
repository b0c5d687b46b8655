package kubelet

import (
	"fmt"
	"regexp"
	"strings"
)

// A tolerated line of kubelet's log may speak of a debug container. All others
// that do are complaints, or actions, and fail the test.
type tolerated struct {
	severity byte   // I, W or E
	source   string // the file of kubelet's that writes it
	text     string // what the message has, as a pattern
	why      string
}

// whileItLives is what kubelet may say of a debug container, from its start to
// its end by itself and whatever becomes of kubelet meanwhile. Nothing of it is
// about what kubelet did: it saw, and left alone.
var whileItLives = []tolerated{
	{'I', "kubelet.go", `^"SyncLoop \(PLEG\): event for pod".*"Type":"Container(Started|Died)"`, "it came, or it went"},
	{'I', "generic.go", `^"Generic \(PLEG\): container finished"`, "it went, and was still there to be asked"},
	{'I', "pod_container_deletor.go", `^"Container not found in pod's containers"`, "kubelet looks whether it should collect what has ended; we had"},
	{'E', "remote_runtime.go", `^"ContainerStatus from runtime service failed" err="rpc error: code = NotFound`, "removed between kubelet's listing and asking, which kubelet takes for collected"},
}

// cadvisor is what kubelet's metrics say of any cgroup of the machine, those of
// other programs too. They decide nothing.
var cadvisor = []tolerated{
	{'I', "factory.go", `^Using factory "raw" for container "`, "it found the cgroup"},
	{'I', "manager.go", `^(Added|Destroyed) container: "`, "it begins and ends to count what is in it"},
	{'I', "container.go", `^Start housekeeping for container "`, "its own word for measuring"},
	{'I', "container.go", `^\[/.*\] Housekeeping took `, "the machine is slow"},
	{'W', "container.go", `^Failed to update stats for container "`, "the cgroup was gone before it was measured"},
	{'W', "manager.go", `^Failed to process watch event `, "or before it was looked at"},
	{'W', "watcher.go", `^(Error while processing event|Failed to remove inotify watch)`, "or before it was watched"},
	{'E', "manager.go", `^Failed to (create|destroy) existing container`, "or before it was listed"},
}

// ofASlowMachine is what it says where others keep the processors busy.
var ofASlowMachine = []tolerated{
	{'E', "kubelet.go", `^"Housekeeping took longer than expected"`, "more than a second"},
}

// whileThePodDies is what it may say besides when the pod is deleted around the
// debug container: the one cost that is known (see README.md, Limits today). The
// sandbox is stopped all the same, and the next round finds nothing to kill.
var whileThePodDies = []tolerated{
	{'E', "kuberuntime_container.go", `^"Kill container failed" err="failed to get containerSpec`, "kubelet stops no container that is not in the pod's spec"},
	{'E', "pod_workers.go", `^"Error syncing pod, skipping" err="error killing terminating pod: failed to \\"KillContainer\\" for`, "so it will try again"},
	{'I', "event.go", `^"Event occurred".* reason="FailedKillPod"`, "and says so"},
}

// ofTheCrashing is what it may say of the pod that crashes anyway.
var ofTheCrashing = []tolerated{
	{'E', "pod_workers.go", `^"Error syncing pod, skipping" err="failed to \\"StartContainer\\" for \\"app\\" with CrashLoopBackOff`, "the app's crash"},
}

// entry is a line of kubelet's log.
type entry struct {
	severity byte
	source   string // file
	line     string // and line
	text     string
}

var klogLine = regexp.MustCompile(`^([IWEF])\d{4} [\d:.]+ +\d+ ([^ :]+):(\d+)\] (.*)$`)

// entries reads a log. What follows a line without a head of its own, such as a
// stack, belongs to it.
func entries(log string) []entry {
	var list []entry
	for line := range strings.Lines(log) {
		line = strings.TrimSuffix(line, "\n")
		m := klogLine.FindStringSubmatch(line)
		switch {
		case m != nil:
			list = append(list, entry{m[1][0], m[2], m[3], m[4]})
		case len(list) > 0:
			list[len(list)-1].text += "\n" + line
		default:
			list = append(list, entry{severity: 'F', text: line})
		}
	}
	return list
}

// kind is what two lines have in common that the same statement wrote.
func (e entry) kind() string { return e.source + ":" + e.line }

func (e entry) String() string {
	return fmt.Sprintf("%c %s:%s] %.700s", e.severity, e.source, e.line, e.text)
}

// in reports whether a list tolerates the line.
func (e entry) in(lists ...[]tolerated) bool {
	for _, list := range lists {
		for _, t := range list {
			if t.severity == e.severity && t.source == e.source && regexp.MustCompile(t.text).MatchString(e.text) {
				return true
			}
		}
	}
	return false
}

// names reports whether the line speaks of a session's container.
func (e entry) names(s *session) bool {
	return s.id != "" && strings.Contains(e.text, s.id) || s.name != "" && strings.Contains(e.text, s.name)
}

// troubles lists the warnings and errors that name a pod, or are of a kind that
// is not in known: something that kubelet had no reason for before.
func troubles(list []entry, pods []*watched, known map[string]bool) []entry {
	var out []entry
	for _, e := range list {
		if e.severity == 'I' || e.in(whileItLives, cadvisor, ofASlowMachine, ofTheCrashing) {
			continue
		}
		named := false
		for _, w := range pods {
			named = named || strings.Contains(e.text, w.uid) || strings.Contains(e.text, w.fullName())
		}
		if named || !known[e.kind()] {
			out = append(out, e)
		}
	}
	return out
}
