package runtime

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
)

// fieldValue is kubelet's podFieldSelectorRuntimeValue, from what is known of
// the pod without the API server.
func (f *Facts) fieldValue(ref *corev1.ObjectFieldSelector) (string, error) {
	pod := f.Spec
	unknown := func() (string, error) {
		if value, ok := f.siblingField(ref.FieldPath); ok {
			return value, nil
		}
		who := f.SpecSource
		if pod != nil {
			who = f.SpecSource + " does not say it"
		}
		return "", fmt.Errorf("field %s of pod %s is not known on this node (%s): %w", ref.FieldPath, f.Pod.FullName(), who, errdefs.ErrNotFound)
	}
	switch ref.FieldPath {
	case "metadata.name":
		return f.Pod.Name, nil
	case "metadata.namespace":
		return f.Pod.Namespace, nil
	case "metadata.uid":
		return f.Pod.UID, nil
	case "spec.nodeName", "spec.host":
		if pod != nil && pod.Spec.NodeName != "" {
			return pod.Spec.NodeName, nil
		}
		if f.Node.Name == "" {
			return unknown()
		}
		return f.Node.Name, nil
	case "spec.serviceAccountName":
		if pod == nil {
			return unknown()
		}
		return pod.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		ips := f.podIPs()
		if len(ips) == 0 {
			return unknown()
		}
		if ref.FieldPath == "status.podIP" {
			return ips[0], nil
		}
		return strings.Join(ips, ","), nil
	case "status.hostIP", "status.hostIPs":
		ips := f.hostIPs()
		if len(ips) == 0 {
			return unknown()
		}
		if ref.FieldPath == "status.hostIP" {
			return ips[0], nil
		}
		return strings.Join(ips, ","), nil
	}
	return f.metadataValue(ref.FieldPath)
}

// siblingField is a field that another container of the pod was given as a
// variable: kubelet has told it there.
func (f *Facts) siblingField(fieldPath string) (string, bool) {
	t, c := f.siblingSpec()
	if c == nil {
		return "", false
	}
	// Of two variables of a name the last counts.
	last := map[string]corev1.EnvVar{}
	for _, v := range c.Env {
		last[v.Name] = v
	}
	for _, e := range t.Env {
		from := last[e.Name].ValueFrom
		if from != nil && from.FieldRef != nil && from.FieldRef.FieldPath == fieldPath {
			return e.Value, true
		}
	}
	return "", false
}

// metadataValue reads labels and annotations: the whole map, or one of it. The
// runtime has the pod's own among kubelet's.
func (f *Facts) metadataValue(fieldPath string) (string, error) {
	labels, annotations := withoutKubelet(f.Pod.Labels), withoutKubelet(f.Pod.Annotations)
	if f.Spec != nil {
		labels, annotations = f.Spec.Labels, f.Spec.Annotations
	}
	name, key, one := fieldPath, "", false
	if rest, ok := strings.CutSuffix(fieldPath, "']"); ok {
		name, key, one = strings.Cut(rest, "['")
	}
	var from map[string]string
	check := key
	switch name {
	case "metadata.labels":
		from = labels
	case "metadata.annotations":
		from, check = annotations, strings.ToLower(key)
	default:
		return "", fmt.Errorf("unsupported fieldPath: %s: %w", fieldPath, errdefs.ErrInvalidArgument)
	}
	if !one {
		return formatMap(from), nil
	}
	if errs := validation.IsQualifiedName(check); len(errs) > 0 {
		return "", fmt.Errorf("invalid key subscript in %s: %s: %w", fieldPath, strings.Join(errs, ";"), errdefs.ErrInvalidArgument)
	}
	return from[key], nil
}

// withoutKubelet leaves out what kubelet adds when it hands a pod's labels and
// annotations to the runtime.
func withoutKubelet(in map[string]string) map[string]string {
	out := maps.Clone(in)
	maps.DeleteFunc(out, func(key, _ string) bool {
		return strings.HasPrefix(key, "io.kubernetes.pod.") || key == LabelContainerName
	})
	return out
}

// formatMap is the downward API's way of writing a map (pkg/fieldpath).
func formatMap(m map[string]string) string {
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, key+"="+strconv.Quote(m[key]))
	}
	return strings.Join(lines, "\n")
}

func (f *Facts) podIPs() []string {
	var ips []string
	if f.Spec != nil {
		for _, ip := range f.Spec.Status.PodIPs {
			ips = append(ips, ip.IP)
		}
		if len(ips) == 0 && f.Spec.Status.PodIP != "" {
			ips = []string{f.Spec.Status.PodIP}
		}
	}
	if len(ips) == 0 {
		ips = f.Sandbox.IPs
	}
	if len(ips) == 0 && f.Sandbox.Network == ModeNode {
		ips = f.hostIPs() // a pod in the node's network has the node's addresses
	}
	return ips
}

func (f *Facts) hostIPs() []string {
	if f.Spec == nil {
		return nil
	}
	var ips []string
	for _, ip := range f.Spec.Status.HostIPs {
		ips = append(ips, ip.IP)
	}
	if len(ips) == 0 && f.Spec.Status.HostIP != "" {
		ips = []string{f.Spec.Status.HostIP}
	}
	return ips
}

// resourceValue is kubelet's containerResourceRuntimeValue. Without a name the
// debug container itself is meant, which has no limits of its own; a missing
// limit is the pod's, and else all that the node has for pods.
func (f *Facts) resourceValue(ref *corev1.ResourceFieldSelector) (string, error) {
	have := corev1.ResourceRequirements{}
	if ref.ContainerName != "" {
		if f.Spec == nil {
			return "", fmt.Errorf("resources of container %q are not known on this node (%s): %w", ref.ContainerName, f.SpecSource, errdefs.ErrNotFound)
		}
		c := f.container(ref.ContainerName)
		if c == nil {
			return "", fmt.Errorf("container %s not found: %w", ref.ContainerName, errdefs.ErrNotFound)
		}
		have = c.Resources
	}
	kind, name, _ := strings.Cut(ref.Resource, ".")
	resourceName := corev1.ResourceName(name)
	amount := have.Requests[resourceName]
	switch {
	case kind == "limits" && f.defaultsLimits(ref.ContainerName):
		var err error
		if amount, err = f.limit(have.Limits, resourceName); err != nil {
			return "", err
		}
	case kind == "limits":
		amount = have.Limits[resourceName]
	}
	return quotient(amount, ref.Divisor, resourceName == corev1.ResourceCPU), nil
}

// defaultsLimits reports whether a missing limit of the container is taken from
// elsewhere: kubelet does that for the container itself and the regular ones of
// the pod, not for init containers.
func (f *Facts) defaultsLimits(name string) bool {
	return name == "" || slices.ContainsFunc(f.Spec.Spec.Containers, func(c corev1.Container) bool { return c.Name == name })
}

// limit is kubelet's defaultPodLimitsForDownwardAPI for one resource.
func (f *Facts) limit(limits corev1.ResourceList, name corev1.ResourceName) (resource.Quantity, error) {
	amount := limits[name]
	defaulted := name == corev1.ResourceCPU || name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage
	if !amount.IsZero() || !defaulted {
		return amount, nil
	}
	if pod := f.podLimits(); name != corev1.ResourceEphemeralStorage {
		if amount, ok := pod[name]; ok && !amount.IsZero() {
			return amount, nil
		}
	}
	amount, ok := f.Node.Allocatable[name]
	if !ok {
		return amount, fmt.Errorf("there is no limit of %s, and what the node has for pods (allocatable) is not known: %w", name, errdefs.ErrNotFound)
	}
	return amount, nil
}

// quotient divides and rounds up, a CPU in thousandths.
func quotient(amount, divisor resource.Quantity, cpu bool) string {
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	a, d := amount.Value(), divisor.Value()
	if cpu {
		a, d = amount.MilliValue(), divisor.MilliValue()
	}
	q := a / d
	if a%d > 0 {
		q++
	}
	return strconv.FormatInt(q, 10)
}
