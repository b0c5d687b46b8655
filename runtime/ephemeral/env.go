package ephemeral

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var (
	// podFields are those of a pod that a variable can have as its value
	// (validEnvDownwardAPIFieldPathExpressions), besides single labels and
	// annotations.
	podFields = []string{
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
	// otherPodFields have a name in the API (ConvertDownwardAPIFieldLabel), but not
	// for variables.
	otherPodFields = []string{"metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"}

	// resourceFields are what resourceFieldRef can name, besides huge pages.
	resourceFields = []string{
		"limits.cpu", "limits.ephemeral-storage", "limits.memory",
		"requests.cpu", "requests.ephemeral-storage", "requests.memory",
	}
	// sizeUnits divide an amount of bytes.
	sizeUnits = []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}
	// cpuUnits divide an amount of CPU.
	cpuUnits = []string{"1m", "1"}
)

// env is ValidateEnv.
func (c *checker) env(vars []corev1.EnvVar, at *field.Path) {
	for i, v := range vars {
		at := at.Index(i)
		if name := at.Child("name"); !c.required(name, v.Name == "") {
			c.invalid(name, v.Name, validation.IsRelaxedEnvVarName(v.Name)...)
		}
		if v.ValueFrom != nil {
			c.valueFrom(&v, at.Child("valueFrom"))
		}
	}
}

func (c *checker) valueFrom(v *corev1.EnvVar, at *field.Path) {
	from, sources := v.ValueFrom, 0
	if from.FieldRef != nil {
		sources++
		c.fieldRef(from.FieldRef, at.Child("fieldRef"))
	}
	if from.ResourceFieldRef != nil {
		sources++
		c.resourceFieldRef(from.ResourceFieldRef, at.Child("resourceFieldRef"))
	}
	if ref := from.ConfigMapKeyRef; ref != nil {
		sources++
		c.keyRef(ref.Name, ref.Key, at.Child("configMapKeyRef"))
	}
	if ref := from.SecretKeyRef; ref != nil {
		sources++
		c.keyRef(ref.Name, ref.Key, at.Child("secretKeyRef"))
	}
	if from.FileKeyRef != nil {
		sources++
		c.fileKeyRef(from.FileKeyRef, at.Child("fileKeyRef"))
	}
	switch {
	case sources == 0:
		c.invalid(at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`")
	case v.Value != "":
		c.invalid(at, "", "may not be specified when `value` is not empty")
	case sources > 1:
		c.invalid(at, "", "may not have more than one field specified at a time")
	}
}

// fieldRef is validateObjectFieldSelector.
func (c *checker) fieldRef(ref *corev1.ObjectFieldSelector, at *field.Path) {
	if c.required(at.Child("apiVersion"), ref.APIVersion == "") || c.required(at.Child("fieldPath"), ref.FieldPath == "") {
		return
	}
	unknown := func(why string) {
		c.invalid(at.Child("fieldPath"), ref.FieldPath, "error converting fieldPath: "+why)
	}
	name, key, keyed := subscript(ref.FieldPath)
	switch {
	case ref.APIVersion != "v1":
		unknown("unsupported pod version: " + ref.APIVersion)
	case keyed && name == "metadata.annotations":
		key = strings.ToLower(key)
		c.invalid(at, key, validation.IsQualifiedName(key)...)
	case keyed && name == "metadata.labels":
		c.invalid(at, key, validation.IsQualifiedName(key)...)
	case keyed:
		unknown("field label does not support subscript: " + ref.FieldPath)
	case slices.Contains(podFields, name) || name == "spec.host": // the old name of spec.nodeName
	case slices.Contains(otherPodFields, name):
		c.add(field.NotSupported(at.Child("fieldPath"), name, podFields))
	default:
		unknown("field label not supported: " + name)
	}
}

// subscript takes name['key'] apart.
func subscript(path string) (name, key string, ok bool) {
	if inner, ends := strings.CutSuffix(path, "']"); ends {
		if name, key, ok = strings.Cut(inner, "['"); ok && name != "" {
			return name, key, true
		}
	}
	return path, "", false
}

// resourceFieldRef is validateContainerResourceFieldSelector.
func (c *checker) resourceFieldRef(ref *corev1.ResourceFieldSelector, at *field.Path) {
	_, name, _ := strings.Cut(ref.Resource, ".")
	pages := strings.HasPrefix(name, "hugepages-") && (ref.Resource == "limits."+name || ref.Resource == "requests."+name)
	known := slices.Contains(resourceFields, ref.Resource)
	if !c.required(at.Child("resource"), ref.Resource == "") && !known && !pages {
		c.add(field.NotSupported(at.Child("resource"), ref.Resource, resourceFields))
	}
	divisor := ref.Divisor.DeepCopy()
	if divisor.IsZero() || !known && !pages {
		return
	}
	units, list, kind := sizeUnits, strings.Join(sizeUnits, ", "), name
	switch {
	case pages:
		kind = "hugepages"
	case name == "cpu":
		units, list = cpuUnits, "1m and 1"
	case name == "ephemeral-storage":
		kind = "local ephemeral storage"
	}
	if !slices.Contains(units, divisor.String()) {
		c.invalid(at.Child("divisor"), ref.Resource, "only divisor's values "+list+" are supported with the "+kind+" resource")
	}
}

// keyRef is validateConfigMapKeySelector, and validateSecretKeySelector too.
func (c *checker) keyRef(name, key string, at *field.Path) {
	c.invalid(at.Child("name"), name, validation.IsDNS1123Subdomain(name)...)
	if at := at.Child("key"); !c.required(at, key == "") {
		c.invalid(at, key, validation.IsConfigMapKey(key)...)
	}
}

// fileKeyRef is validateFileKeySelector.
func (c *checker) fileKeyRef(ref *corev1.FileKeySelector, at *field.Path) {
	if at := at.Child("key"); !c.required(at, ref.Key == "") {
		c.invalid(at, ref.Key, validation.IsRelaxedEnvVarName(ref.Key)...)
	}
	if at := at.Child("volumeName"); !c.required(at, ref.VolumeName == "") {
		c.invalid(at, ref.VolumeName, validation.IsDNS1123Label(ref.VolumeName)...)
	}
	if at := at.Child("path"); !c.required(at, ref.Path == "") {
		c.noBacksteps(ref.Path, at)
	}
}

// envFrom is ValidateEnvFrom, which puts the last two errors at the whole list.
func (c *checker) envFrom(sources []corev1.EnvFromSource, at *field.Path) {
	for i, from := range sources {
		in := at.Index(i)
		if from.Prefix != "" {
			c.invalid(in.Child("prefix"), from.Prefix, validation.IsRelaxedEnvVarName(from.Prefix)...)
		}
		if ref := from.ConfigMapRef; ref != nil {
			c.sourceName(ref.Name, in.Child("configMapRef", "name"))
		}
		if ref := from.SecretRef; ref != nil {
			c.sourceName(ref.Name, in.Child("secretRef", "name"))
		}
		switch {
		case from.ConfigMapRef == nil && from.SecretRef == nil:
			c.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`")
		case from.ConfigMapRef != nil && from.SecretRef != nil:
			c.invalid(at, "", "may not have more than one field specified at a time")
		}
	}
}

// sourceName is the name of a whole ConfigMap or Secret. The API takes it for
// the beginning of one that is to be generated and forgives a dash at its end
// (NameIsDNSSubdomain with prefix).
func (c *checker) sourceName(name string, at *field.Path) {
	if c.required(at, name == "") {
		return
	}
	masked := name
	if len(name) > 1 && strings.HasSuffix(name, "-") {
		masked = name[:len(name)-2] + "a"
	}
	c.invalid(at, name, validation.IsDNS1123Subdomain(masked)...)
}
