package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/porthole-project/porthole/internal/kubelet"
	"github.com/porthole-project/porthole/internal/kubelet/poddir"
	"github.com/porthole-project/porthole/internal/kubelet/podspec"
	nodefacts "github.com/porthole-project/porthole/internal/node"
	"github.com/porthole-project/porthole/runtime"
)

// This file puts what the node and its kubelet know into the facts of the plan.

// describe adds the pod's spec, the node's settings, and the files that kubelet
// prepared for what the spec of the debug container refers to.
func (n *node) describe(ctx context.Context, f *runtime.Facts, spec *corev1.EphemeralContainer) {
	seen := kubelet.Facts{PodUID: f.Pod.UID, LogDirectory: f.Sandbox.LogDirectory}
	for _, t := range []*runtime.Target{f.Target, f.Neighbour} {
		if t != nil {
			for _, m := range t.Mounts {
				seen.MountSources = append(seen.MountSources, m.HostPath)
			}
		}
	}
	paths, err := kubelet.Discover(kubelet.Options{Root: n.config.KubeletRoot, Manifests: n.config.StaticPodPath, Target: seen})
	if err != nil {
		f.SpecSource = "not known: " + err.Error()
		return
	}
	n.verbose("kubelet root: %s (%s)", paths.Root, paths.Source.Root)
	for _, note := range paths.Notes {
		n.verbose("kubelet: %s", note)
	}
	n.kubelet = &paths
	f.Spec, f.SpecSource = podSpec(ctx, paths, f)
	f.Node = n.nodeFacts(ctx, paths, f, spec)
	dir, err := paths.PodDir(f.Pod.UID)
	if err != nil || !isDir(dir) {
		n.verbose("kubelet's files: the pod has no directory there (%s); it is not kubelet's, or its root is elsewhere (--kubelet-root)", dir)
		return
	}
	if path, err := paths.EtcHosts(f.Pod.UID); err == nil && isFile(path) {
		f.Files.EtcHosts = path
	}
	if path, err := paths.ContainerDir(f.Pod.UID, spec.Name); err == nil {
		f.Files.ContainerDir = path
	}
	n.addVolumes(ctx, f, poddir.At(dir), spec)
	addReferences(f, poddir.At(dir), spec)
}

// podSpec asks whoever may know the pod's spec, best first, and says who did.
func podSpec(ctx context.Context, paths kubelet.Paths, f *runtime.Facts) (*corev1.Pod, string) {
	pod, askErr := podspec.Ask(ctx, paths.Root, f.Pod.UID)
	if askErr == nil {
		return pod, "kubelet's Pods API"
	}
	if !f.IsStatic() {
		return nil, fmt.Sprintf("only the runtime tells of it: %v", askErr)
	}
	running := podspec.Running{Namespace: f.Pod.Namespace, Name: f.Pod.Name, UID: f.Pod.UID, Containers: map[string]string{}}
	if name := paths.Settings.NodeName; name.Source.From != kubelet.Default {
		running.NodeName = name.Value // else only the host's name is known, and kubelet may have been given another
	}
	for _, c := range f.Containers {
		if !runtime.IsOurs(c.Labels) {
			running.Containers[c.Name] = namedImage(c)
		}
	}
	pod, file, err := podspec.Static(paths.Manifests, running)
	if err == nil {
		return pod, "static pod manifest " + file
	}
	return nil, fmt.Sprintf("only the runtime tells of it: %v; %v", askErr, err)
}

// namedImage is the image as the pod's author wrote it, empty where the runtime
// kept only an ID.
func namedImage(c runtime.Container) string {
	if c.Image == c.ImageID || strings.HasPrefix(c.Image, "sha256:") || strings.Contains(c.Image, "@sha256:") {
		return ""
	}
	return c.Image
}

func (n *node) nodeFacts(ctx context.Context, paths kubelet.Paths, f *runtime.Facts, spec *corev1.EphemeralContainer) runtime.Node {
	s := paths.Settings
	out := runtime.Node{
		Name:            s.NodeName.Value,
		HugepageSizes:   nodefacts.HugepageSizes(nodefacts.Root),
		ThermalThrottle: nodefacts.ThermalThrottle(nodefacts.Root),
		Memory:          nodefacts.Memory("/proc"),
		CgroupV2:        nodefacts.CgroupV2(nodefacts.Root),
		SwapController:  nodefacts.SwapController(nodefacts.Root),
		SELinux:         nodefacts.SELinux(nodefacts.Root),
		SeccompRoot:     filepath.Join(paths.Root, "seccomp"),
	}
	var err error
	if out.SharedCPUs, err = paths.SharedCPUs(); err != nil {
		n.verbose("kubelet's CPU manager: %v", err)
	}
	if out.Allocatable, err = s.Allocatable(capacity(out.Memory)); err != nil {
		n.verbose("what the node has for pods is not known: %v", err)
	}
	out.SingleProcessOOMKill = s.SingleProcessOOMKill.Value
	out.MemoryThrottling = s.MemoryThrottlingFactor.Value
	if on, set := s.FeatureGates.Value["MemoryQoS"]; set {
		out.NoMemoryQoS = !on
	}
	if s.SeccompDefault.Known() {
		out.SeccompDefault = &s.SeccompDefault.Value
	}
	for _, m := range spec.VolumeMounts {
		if m.RecursiveReadOnly == nil || out.RecursiveReadOnly {
			continue
		}
		can, err := n.client.RecursiveReadOnly(ctx, f.Pod.Handler)
		if err != nil {
			n.verbose("recursive read-only mounts: %v", err)
		}
		out.RecursiveReadOnly = can
	}
	return out
}

// capacity is what the node has, as kubelet counts it.
func capacity(memory int64) corev1.ResourceList {
	out := corev1.ResourceList{corev1.ResourceCPU: *resource.NewQuantity(int64(goruntime.NumCPU()), resource.DecimalSI)}
	if memory > 0 {
		out[corev1.ResourceMemory] = *resource.NewQuantity(memory, resource.BinarySI)
		// Of whatever size: what matters is that pods do not get that memory.
		out[corev1.ResourceHugePagesPrefix+"2Mi"] = *resource.NewQuantity(nodefacts.HugepageBytes(nodefacts.Root), resource.BinarySI)
	}
	return out
}

// addVolumes finds the volumes that the spec mounts.
func (n *node) addVolumes(ctx context.Context, f *runtime.Facts, dir poddir.Dir, spec *corev1.EphemeralContainer) {
	var pod *corev1.PodSpec
	if f.Spec != nil {
		pod = &f.Spec.Spec
	}
	f.Files.Volumes, f.Files.Devices = map[string]runtime.Volume{}, map[string]runtime.Volume{}
	for _, m := range spec.VolumeMounts {
		v, err := dir.Volume(pod, m.Name)
		if errors.Is(err, poddir.ErrImage) {
			f.Files.Volumes[m.Name] = n.imageVolume(ctx, pod, m.Name)
			continue
		}
		f.Files.Volumes[m.Name] = runtime.Volume{HostPath: v.Path, ReadOnly: v.ReadOnly, Relabel: v.Relabel, Err: err}
	}
	for _, d := range spec.VolumeDevices {
		v, err := dir.Device(pod, d.Name)
		f.Files.Devices[d.Name] = runtime.Volume{HostPath: v.Path, ReadOnly: v.ReadOnly, Err: err}
	}
}

// imageVolume is a volume that is an image: kubelet has pulled it for the pod, so
// that it is here.
func (n *node) imageVolume(ctx context.Context, pod *corev1.PodSpec, name string) runtime.Volume {
	for _, v := range pod.Volumes {
		if v.Name == name && v.Image != nil {
			image, err := n.client.Image(ctx, runtime.ImageOrder{Ref: v.Image.Reference, Policy: corev1.PullNever})
			return runtime.Volume{Image: &image, Err: err}
		}
	}
	return runtime.Volume{Err: errdefs.ErrNotFound}
}

// addReferences finds the configMaps, secrets and files that the spec's
// environment refers to. Without the pod's spec it is not known which volume is
// which.
func addReferences(f *runtime.Facts, dir poddir.Dir, spec *corev1.EphemeralContainer) {
	unknown := fmt.Errorf("the pod's spec is not known (%s), and so not which volume holds it: %w", f.SpecSource, errdefs.ErrNotFound)
	var pod *corev1.PodSpec
	if f.Spec != nil {
		pod, unknown = &f.Spec.Spec, nil
	}
	maps := objects{found: map[string]runtime.Object{}, unknown: unknown, all: func(name string) (map[string]string, error) { return dir.ConfigMap(pod, name) }}
	secrets := objects{found: map[string]runtime.Object{}, unknown: unknown, all: func(name string) (map[string]string, error) { return dir.Secret(pod, name) }}
	f.Files.ConfigMaps, f.Files.Secrets, f.Files.EnvFiles = maps.found, secrets.found, map[runtime.FileKey]runtime.EnvFile{}
	for _, from := range spec.EnvFrom {
		if ref := from.ConfigMapRef; ref != nil {
			maps.load(ref.Name)
		}
		if ref := from.SecretRef; ref != nil {
			secrets.load(ref.Name)
		}
	}
	for _, e := range spec.Env {
		if e.ValueFrom == nil {
			continue
		}
		yes := true
		if ref := e.ValueFrom.ConfigMapKeyRef.DeepCopy(); ref != nil {
			ref.Optional = &yes
			maps.key(ref.Name, ref.Key, func() (string, bool, error) { return dir.ConfigMapKey(pod, ref) })
		}
		if ref := e.ValueFrom.SecretKeyRef.DeepCopy(); ref != nil {
			ref.Optional = &yes
			secrets.key(ref.Name, ref.Key, func() (string, bool, error) { return dir.SecretKey(pod, ref) })
		}
		if ref := e.ValueFrom.FileKeyRef.DeepCopy(); ref != nil {
			ref.Optional = &yes
			value, found, err := "", false, unknown
			if unknown == nil {
				value, found, err = dir.EnvFileKey(pod, ref)
			}
			f.Files.EnvFiles[runtime.FileKey{Volume: ref.VolumeName, Path: ref.Path, Key: ref.Key}] = runtime.EnvFile{Value: value, Found: found, Err: err}
		}
	}
}

// objects collects what the node holds of configMaps, or of secrets.
type objects struct {
	found   map[string]runtime.Object
	unknown error // why nothing can be found
	all     func(name string) (map[string]string, error)
}

func (o *objects) load(name string) runtime.Object {
	object, known := o.found[name]
	if known {
		return object
	}
	if object.Err = o.unknown; o.unknown == nil {
		object.Data, object.Err = o.all(name)
		object.Complete = object.Err == nil
	}
	o.found[name] = object
	return object
}

// key adds one key of an object of which the volumes do not show all.
func (o *objects) key(name, key string, ask func() (value string, ok bool, err error)) {
	object := o.load(name)
	if object.Complete || o.unknown != nil {
		return
	}
	switch value, ok, err := ask(); {
	case err != nil:
		object.Err = err
	case ok:
		if object.Data == nil {
			object.Data = map[string]string{}
		}
		object.Data[key] = value
	default:
		object.Missing = append(object.Missing, key)
	}
	o.found[name] = object
}

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

func isFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}
