package ephemeral

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

// What the API server refuses is tested by its own answers, see TestOracle.

// goodSpec is one that nothing is wrong with.
func goodSpec() *corev1.EphemeralContainer {
	spec := &corev1.EphemeralContainer{}
	spec.Name, spec.Image = "debug", "busybox:1"
	Default(spec)
	return spec
}

var somePod = PodFacts{Known: true, HostUsers: true, Containers: []string{"app"}, Volumes: map[string]corev1.VolumeSource{"data": {EmptyDir: &corev1.EmptyDirVolumeSource{}}}}

func TestValidateAccepts(t *testing.T) {
	for what, change := range map[string]func(*corev1.EphemeralContainer){
		"the least":         func(*corev1.EphemeralContainer) {},
		"a working dir":     func(s *corev1.EphemeralContainer) { s.WorkingDir = "/processes" },
		"an image's ID":     func(s *corev1.EphemeralContainer) { s.Image = strings.Repeat("0a", 32) },
		"any byte but NUL":  func(s *corev1.EphemeralContainer) { s.Command, s.Args = []string{"\x01\x1b\xff\n"}, []string{""} },
		"a value of a kind": func(s *corev1.EphemeralContainer) { s.Env = []corev1.EnvVar{{Name: "A", Value: "=\n\xff"}} },
		"mounts": func(s *corev1.EphemeralContainer) {
			for _, path := range []string{"/data", "relative", "/process", "/a/../b"} {
				s.VolumeMounts = append(s.VolumeMounts, corev1.VolumeMount{Name: "data", MountPath: path})
			}
		},
	} {
		spec := goodSpec()
		change(spec)
		if err := Validate(spec, somePod); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestValidateRefusesMore is about what the API server accepts.
func TestValidateRefusesMore(t *testing.T) {
	const at = "spec.ephemeralContainers[0]."
	dir := func(path string) change { return func(s *corev1.EphemeralContainer) { s.WorkingDir = path } }
	mount := func(path string) change {
		return func(s *corev1.EphemeralContainer) {
			s.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: path}}
		}
	}
	device := func(path string) change {
		return func(s *corev1.EphemeralContainer) {
			s.VolumeDevices = []corev1.VolumeDevice{{Name: "claim", DevicePath: path}}
		}
	}
	for _, c := range []struct {
		change change
		says   string
	}{
		{func(s *corev1.EphemeralContainer) { s.Image = "Busybox" }, `image: Invalid value: "Busybox": want [REGISTRY/]NAME[:TAG][@DIGEST] in lower case, or an image ID`},
		{func(s *corev1.EphemeralContainer) { s.Image = "a b" }, `image: Invalid value: "a b": spaces and control characters are not allowed`},
		{func(s *corev1.EphemeralContainer) { s.Command = []string{"a", "b\x00"} }, `command[1]: Invalid value: "b\x00": a NUL byte cannot be passed to a process`},
		{func(s *corev1.EphemeralContainer) { s.Args = []string{"\x00"} }, `args[0]: Invalid value: "\x00": a NUL byte`},
		{func(s *corev1.EphemeralContainer) { s.Env = []corev1.EnvVar{{Name: "A", Value: "s3cr3t\x00"}} }, "env[0].value: Invalid value: a NUL byte cannot be passed to a process"},
		{dir("/a\x00"), `workingDir: Invalid value: "/a\x00": a NUL byte`},
		{dir("/proc"), "workingDir: Forbidden: must not be under /proc"},
		{dir("/proc/self/fd/7"), "workingDir: Forbidden"},
		{dir("//proc/self/fd/7"), "workingDir: Forbidden"},
		{dir("/./proc/self/fd/7"), "workingDir: Forbidden"},
		{dir("proc/self/fd/7"), "workingDir: Forbidden"},
		{dir("/tmp/../proc/self"), "workingDir: Forbidden"},
		{mount("/"), "volumeMounts[0].mountPath: Forbidden: must not be the root directory"},
		{mount("/a/.."), "volumeMounts[0].mountPath: Forbidden: must not be the root directory"},
		{mount("."), "volumeMounts[0].mountPath: Forbidden: must not be the root directory"},
		{mount("/proc"), "volumeMounts[0].mountPath: Forbidden: must not be under /proc"},
		{mount("proc//sys"), "volumeMounts[0].mountPath: Forbidden: must not be under /proc"},
		{mount("/a\x00"), `volumeMounts[0].mountPath: Invalid value: "/a\x00": a NUL byte`},
		{device("dev/x"), "volumeDevices[0].devicePath: Invalid value: \"dev/x\": error DevicePath `dev/x` must be an absolute path"},
		{device("/dev/x\x00"), `volumeDevices[0].devicePath: Invalid value: "/dev/x\x00": a NUL byte`},
		{func(s *corev1.EphemeralContainer) { s.TerminationMessagePath = "/proc/self/mem" }, "terminationMessagePath: Forbidden: must not be under /proc"},
		{func(s *corev1.EphemeralContainer) { s.TerminationMessagePath = "/dev/x\x00" }, "terminationMessagePath: Invalid value"},
	} {
		spec, pod := goodSpec(), somePod
		pod.Volumes = map[string]corev1.VolumeSource{"data": {}, "claim": {PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}}}
		c.change(spec)
		err := Validate(spec, pod)
		if !errdefs.IsInvalidArgument(err) || !strings.HasPrefix(err.Error(), at+c.says) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("got %v, want %s", err, at+c.says)
		}
	}
}

func TestValidateTellsAllAtOnce(t *testing.T) {
	spec := goodSpec()
	spec.Name, spec.Image, spec.WorkingDir = "A", "B", "/proc"
	spec.Env = []corev1.EnvVar{{Name: "="}, {Name: ""}}
	spec.EnvFrom = []corev1.EnvFromSource{{}, {}} // which the API says twice, and shows once
	err := Validate(spec, somePod)
	var fields []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		name, _, _ := strings.Cut(line, ":")
		fields = append(fields, strings.TrimPrefix(name, "spec.ephemeralContainers[0]."))
	}
	if want := []string{"name", "env[0].name", "env[1].name", "envFrom", "image", "workingDir"}; !slices.Equal(fields, want) {
		t.Errorf("%q, want %q", fields, want)
	}
}

// TestValidateOfAnUnknownPod: names are judged by what the runtime knows, and
// what only the pod's spec could tell is left to others.
func TestValidateOfAnUnknownPod(t *testing.T) {
	spec := goodSpec()
	spec.TargetContainerName = "app"
	spec.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/a", BindMountOptions: []string{"noexec"}}}
	spec.VolumeDevices = []corev1.VolumeDevice{{Name: "claim", DevicePath: "/dev/x"}}
	spec.Env = []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{VolumeName: "data", Path: "a", Key: "K"}}}}
	spec.SecurityContext = &corev1.SecurityContext{ProcMount: new(corev1.UnmaskedProcMount)}
	pod := PodFacts{Containers: []string{"app"}, Ephemeral: []string{"other"}}
	if err := Validate(spec, pod); err != nil {
		t.Error(err)
	}
	spec.Name, spec.TargetContainerName = "other", "nobody"
	const want = "spec.ephemeralContainers[0].name: Duplicate value: \"other\"\nspec.ephemeralContainers[0].targetContainerName: Not found: \"nobody\""
	if err := Validate(spec, pod); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestAnyOtherFieldIsRefused sets each field of the API's type that is not on
// the list, also those that do not exist yet.
func TestAnyOtherFieldIsRefused(t *testing.T) {
	refused := 0
	for f := range reflect.TypeFor[corev1.EphemeralContainerCommon]().Fields() {
		if slices.Contains(allowedFields, f.Name) {
			continue
		}
		refused++
		spec := goodSpec()
		value := reflect.ValueOf(&spec.EphemeralContainerCommon).Elem().FieldByName(f.Name)
		set(t, value)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		want := "spec.ephemeralContainers[0]." + tag + ": Forbidden: cannot be set for an Ephemeral Container"
		if err := Validate(spec, somePod); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", f.Name, err, want)
		}
	}
	if refused < 9 {
		t.Errorf("only %d fields are refused", refused)
	}
	for _, name := range allowedFields {
		if _, ok := reflect.TypeFor[corev1.EphemeralContainerCommon]().FieldByName(name); !ok {
			t.Errorf("%s is allowed and does not exist", name)
		}
	}
}

// set gives v a value other than zero.
func set(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	case reflect.Struct:
		set(t, v.Field(0))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(1)
	default:
		t.Fatalf("a field of type %s", v.Type())
	}
}
