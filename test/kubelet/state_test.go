package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	labelPodName = "io.kubernetes.pod.name"
	labelPodUID  = "io.kubernetes.pod.uid"
	// labelSession marks the containers that Porthole made.
	labelSession = "porthole.dev/session"
)

// watched is a pod that kubelet runs for a subject.
type watched struct {
	subject
	k       *kubelet
	uid     string
	sandbox string   // ID
	was     []string // what runs in it, before anything was opened
	// restarted is how often kubelet had started a container again by then.
	restarted uint32
	session   *session // the one that is open, or was the last
	row       row
}

// fullName is the pod's name as kubelet and Porthole know it.
func (w *watched) fullName() string { return w.name + "-" + nodeName }

func (w *watched) logDir() string {
	return filepath.Join(w.k.node.PodLogs(), namespace+"_"+w.fullName()+"_"+w.uid)
}

func (w *watched) podDir() string { return filepath.Join(w.k.node.KubeletRoot(), "pods", w.uid) }

// ready waits for the pod to be what its manifest says and remembers that.
func (w *watched) ready(ctx context.Context) error {
	list, err := w.k.node.Runtime().ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{
		LabelSelector: map[string]string{labelPodName: w.fullName()},
	}})
	if err != nil {
		return err
	}
	if len(list.GetItems()) != 1 {
		return fmt.Errorf("%s: %d sandboxes", w.name, len(list.GetItems()))
	}
	w.sandbox, w.uid = list.GetItems()[0].GetId(), list.GetItems()[0].GetMetadata().GetUid()
	containers, err := w.containers(ctx)
	if err != nil {
		return err
	}
	running, over := 0, 0
	for _, c := range containers {
		switch c.GetState() {
		case runtimeapi.ContainerState_CONTAINER_RUNNING:
			running++
		case runtimeapi.ContainerState_CONTAINER_EXITED:
			over++
		}
	}
	want := len(w.spec.Containers)
	for _, c := range w.spec.InitContainers {
		if c.RestartPolicy != nil {
			want++
		}
	}
	if w.crashes && over == 0 || !w.crashes && running != want {
		return fmt.Errorf("%s: %d containers run and %d have ended", w.name, running, over)
	}
	if w.restarted, err = w.restarts(ctx); err != nil {
		return err
	}
	w.was, err = w.state(ctx)
	return err
}

// restarts is the highest number that kubelet has given to a container of the
// pod: 0 for the first.
func (w *watched) restarts(ctx context.Context) (uint32, error) {
	containers, err := w.containers(ctx)
	var most uint32
	for _, c := range containers {
		most = max(most, c.GetMetadata().GetAttempt())
	}
	return most, err
}

// containers lists the pod's own containers, in whatever sandbox they are.
func (w *watched) containers(ctx context.Context) ([]*runtimeapi.Container, error) {
	all, err := w.all(ctx)
	return slices.DeleteFunc(all, func(c *runtimeapi.Container) bool { return c.GetLabels()[labelSession] != "" }), err
}

// ours lists Porthole's containers in the pod.
func (w *watched) ours(ctx context.Context) ([]*runtimeapi.Container, error) {
	all, err := w.all(ctx)
	return slices.DeleteFunc(all, func(c *runtimeapi.Container) bool { return c.GetLabels()[labelSession] == "" }), err
}

// all lists what is in the pod's sandbox, whatever its labels say, and what
// says that it is the pod's.
func (w *watched) all(ctx context.Context) ([]*runtimeapi.Container, error) {
	list, err := w.k.node.Runtime().ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	return slices.DeleteFunc(list.GetContainers(), func(c *runtimeapi.Container) bool {
		return c.GetPodSandboxId() != w.sandbox && c.GetLabels()[labelPodUID] != w.uid
	}), err
}

// state describes all that kubelet could change of the pod: its sandboxes and
// containers, which attempt each is, whether it runs and since when. Containers
// that crash anyway are kubelet's business; their sandbox is not.
func (w *watched) state(ctx context.Context) ([]string, error) {
	list, err := w.k.node.Runtime().ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{
		LabelSelector: map[string]string{labelPodUID: w.uid},
	}})
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, s := range list.GetItems() {
		lines = append(lines, fmt.Sprintf("sandbox %.13s, attempt %d, %s", s.GetId(), s.GetMetadata().GetAttempt(), s.GetState()))
	}
	containers, err := w.containers(ctx)
	if err != nil || w.crashes {
		return lines, err
	}
	for _, c := range containers {
		answer, err := w.k.node.Runtime().ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.GetId()})
		if err != nil {
			return nil, err
		}
		s := answer.GetStatus()
		lines = append(lines, fmt.Sprintf("container %s %.13s, restart %d, %s, started at %d", s.GetMetadata().GetName(), s.GetId(), s.GetMetadata().GetAttempt(), s.GetState(), s.GetStartedAt()))
	}
	slices.Sort(lines)
	return lines, nil
}

// unchanged returns an error if the pod is not what it was.
func (w *watched) unchanged(ctx context.Context) error {
	now, err := w.state(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(now, w.was) {
		return fmt.Errorf("pod %s was\n  %s\nand is\n  %s", w.name, strings.Join(w.was, "\n  "), strings.Join(now, "\n  "))
	}
	return nil
}

// living returns an error unless the session and its container are there, the
// same as at the start.
func (w *watched) living(ctx context.Context) error {
	if !w.session.daemon.Running() {
		return fmt.Errorf("pod %s: the session has ended: %s: %s", w.name, w.session.cmd.ProcessState, w.session.out)
	}
	found, err := w.ours(ctx)
	if err != nil {
		return err
	}
	if len(found) != 1 || found[0].GetId() != w.session.id || found[0].GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return fmt.Errorf("pod %s: debug container %.13s should run, there is %v", w.name, w.session.id, found)
	}
	return nil
}

// traces lists what there is of the session besides its process: container, log
// directory, termination directory and entry in the journal.
func (w *watched) traces(ctx context.Context, s *session) ([]string, error) {
	containers, err := w.ours(ctx)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, c := range containers {
		found = append(found, "container "+c.GetMetadata().GetName())
	}
	found = append(found, existing(filepath.Join(w.logDir(), s.name), filepath.Join(w.podDir(), "containers", s.name))...)
	entries, err := filepath.Glob(filepath.Join(s.stateDir, "sessions", "*"))
	for _, e := range entries {
		if text, err := os.ReadFile(e); err == nil && strings.Contains(string(text), w.uid) {
			found = append(found, e)
		}
	}
	return found, err
}

// gone returns an error that names what is left of the session.
func (w *watched) gone(ctx context.Context, s *session) error {
	left, err := w.traces(ctx, s)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	return err
}

// deleted returns an error that names what is left of a pod whose manifest is
// gone.
func (w *watched) deleted(ctx context.Context) error {
	left, err := w.state(ctx)
	if err != nil {
		return err
	}
	left = append(left, existing(w.logDir(), w.podDir())...)
	if len(left) > 0 {
		return fmt.Errorf("left of pod %s: %s", w.name, strings.Join(left, ", "))
	}
	return nil
}

// existing returns the paths that exist.
func existing(paths ...string) []string {
	return slices.DeleteFunc(paths, func(p string) bool {
		_, err := os.Lstat(p)
		return errors.Is(err, os.ErrNotExist)
	})
}
