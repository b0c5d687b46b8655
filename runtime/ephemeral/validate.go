package ephemeral

import (
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// PodFacts is what [Validate] must know of the pod.
type PodFacts struct {
	// Known is false where the pod's spec is not at hand: the names are then what
	// the runtime knows, and Volumes and HostUsers mean nothing.
	Known bool
	// Names of the containers that the pod has.
	Containers, InitContainers, Ephemeral []string
	// Volumes are the pod's, by name.
	Volumes map[string]corev1.VolumeSource
	// HostUsers is the pod's hostUsers, true where that is not set.
	HostUsers bool
}

// Validate checks a spec that went through [Default] as the API server does on
// the subresource pods/ephemeralcontainers (ValidatePodEphemeralContainersUpdate
// in pkg/apis/core/validation, with the feature gates of 1.37), and refuses some
// more that it leaves to kubelet or to nobody. Each line of the error is one
// complaint, in the API's own words and with the API's own path, as if the
// container were the pod's first ephemeral one. The class is
// errdefs.ErrInvalidArgument.
func Validate(spec *corev1.EphemeralContainer, pod PodFacts) error {
	var lines problems
	for _, e := range check(spec, pod) {
		if line := e.Error(); !slices.Contains(lines, line) { // as ErrorList.ToAggregate
			lines = append(lines, line)
		}
	}
	if len(lines) > 0 {
		return lines
	}
	return nil
}

// ours is the origin of errors that the API server would not give.
const ours = "porthole"

// checker collects what is wrong.
type checker struct {
	errs field.ErrorList
	pod  PodFacts
}

func (c *checker) add(e *field.Error) { c.errs = append(c.errs, e) }

// required reports something that is missing, and whether it is.
func (c *checker) required(at *field.Path, missing bool) bool {
	if missing {
		c.add(field.Required(at, ""))
	}
	return missing
}

func (c *checker) forbidden(at *field.Path, why string) { c.add(field.Forbidden(at, why)) }

// invalid reports a value once for each reason.
func (c *checker) invalid(at *field.Path, value any, why ...string) {
	for _, w := range why {
		c.add(field.Invalid(at, value, w))
	}
}

// oneOf reports a value that is not among those supported, which are sorted.
func oneOf[T ~string](c *checker, at *field.Path, value T, supported ...T) {
	if !slices.Contains(supported, value) {
		c.add(field.NotSupported(at, value, supported))
	}
}

// check gives the API server's errors in its order, then ours.
func check(spec *corev1.EphemeralContainer, pod PodFacts) field.ErrorList {
	c := &checker{pod: pod}
	at := field.NewPath("spec", "ephemeralContainers").Index(0)
	c.common(&spec.EphemeralContainerCommon, at)
	if spec.Image != strings.TrimSpace(spec.Image) {
		c.invalid(at.Child("image"), spec.Image, "must not have leading or trailing whitespace")
	}
	c.names(spec, at)
	c.allowed(&spec.EphemeralContainerCommon, at)
	c.noSubPaths(spec.VolumeMounts, at.Child("volumeMounts"))
	c.inPod(spec, at)
	known := len(c.errs)
	c.own(spec, at)
	for _, e := range c.errs[known:] {
		e.Origin = ours
	}
	return c.errs
}

// common is what the API asks of all containers (validateContainerCommon), but
// for the content of resources: they are refused as a whole.
func (c *checker) common(spec *corev1.EphemeralContainerCommon, at *field.Path) {
	if name := at.Child("name"); !c.required(name, spec.Name == "") {
		c.invalid(name, spec.Name, validation.IsDNS1123Label(spec.Name)...)
	}
	c.required(at.Child("image"), spec.Image == "")
	if policy := at.Child("terminationMessagePolicy"); !c.required(policy, spec.TerminationMessagePolicy == "") {
		oneOf(c, policy, spec.TerminationMessagePolicy, corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)
	}
	c.ports(spec.Ports, at.Child("ports"))
	c.env(spec.Env, at.Child("env"))
	c.envFrom(spec.EnvFrom, at.Child("envFrom"))
	c.mounts(spec, at.Child("volumeMounts"))
	c.devices(spec, at.Child("volumeDevices"))
	if policy := at.Child("imagePullPolicy"); !c.required(policy, spec.ImagePullPolicy == "") {
		oneOf(c, policy, spec.ImagePullPolicy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
	}
	c.resizePolicy(spec.ResizePolicy, at.Child("resizePolicy"))
	c.securityContext(spec.SecurityContext, at.Child("securityContext"))
}

// names: an ephemeral container's name is unique among the pod's containers of
// all kinds, and its target is not itself ephemeral.
func (c *checker) names(spec *corev1.EphemeralContainer, at *field.Path) {
	targets := slices.Concat(c.pod.Containers, c.pod.InitContainers)
	if slices.Contains(targets, spec.Name) || slices.Contains(c.pod.Ephemeral, spec.Name) {
		c.add(field.Duplicate(at.Child("name"), spec.Name))
	}
	if target := spec.TargetContainerName; target != "" && !slices.Contains(targets, target) {
		c.add(field.NotFound(at.Child("targetContainerName"), target))
	}
}

// notEphemeral is the API's word for what an ephemeral container may not have.
const notEphemeral = "cannot be set for an Ephemeral Container"

// allowedFields are those that an ephemeral container may have
// (allowedEphemeralContainerFields). It is a list of these and not of the
// others, so that what a later API adds is refused until someone thought of it.
var allowedFields = []string{
	"Name", "Image", "Command", "Args", "WorkingDir", "EnvFrom", "Env", "VolumeMounts", "VolumeDevices", "TerminationMessagePath",
	"TerminationMessagePolicy", "ImagePullPolicy", "SecurityContext", "Stdin", "StdinOnce", "TTY",
}

func (c *checker) allowed(spec *corev1.EphemeralContainerCommon, at *field.Path) {
	value := reflect.ValueOf(spec).Elem()
	for f, v := range value.Fields() {
		if !v.IsZero() && !slices.Contains(allowedFields, f.Name) {
			c.forbidden(at.Child(strings.ToLower(f.Name[:1])+f.Name[1:]), notEphemeral)
		}
	}
}

// inPod is what the API asks of a pod as a whole: a user namespace has no block
// devices (validateHostUsers), files of variables are in an emptyDir
// (validateFileKeyRefVolumes), and Windows' host processes are never beside
// others (validateWindowsHostProcessPod). Of the latter's two errors this is the
// one that is sure: a pod on a Linux node has no such containers.
func (c *checker) inPod(spec *corev1.EphemeralContainer, at *field.Path) {
	if sc := spec.SecurityContext; sc != nil && sc.WindowsOptions != nil && isTrue(sc.WindowsOptions.HostProcess) {
		c.invalid(field.NewPath("spec"), "", "If pod contains any hostProcess containers then all containers must be HostProcess containers")
	}
	if !c.pod.Known {
		return
	}
	if !c.pod.HostUsers && len(spec.VolumeDevices) > 0 {
		c.forbidden(at.Child("volumeDevices"), "when `hostUsers` is false")
	}
	for i, e := range spec.Env {
		if e.ValueFrom == nil || e.ValueFrom.FileKeyRef == nil {
			continue
		}
		name := e.ValueFrom.FileKeyRef.VolumeName
		at := at.Child("env").Index(i).Child("valueFrom", "fileKeyRef", "volumeName")
		if volume, ok := c.pod.Volumes[name]; !ok {
			c.add(field.NotFound(at, name))
		} else if volume.EmptyDir == nil {
			c.invalid(at, name, "referenced volume must be of type emptyDir")
		}
	}
}
