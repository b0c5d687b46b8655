package runtime

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func configKey(name, key string, optional bool) corev1.EnvVar {
	return corev1.EnvVar{Name: "V", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key, Optional: &optional,
	}}}
}

func secretKey(name, key string, optional bool) corev1.EnvVar {
	return corev1.EnvVar{Name: "V", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key, Optional: &optional,
	}}}
}

// TestEnvReferences: what the node holds is used; what it cannot tell is an
// error, also where it is optional.
func TestEnvReferences(t *testing.T) {
	lost := errors.New("no volume holds it")
	f := goodFacts()
	f.Files.ConfigMaps = map[string]Object{
		"all":  {Data: map[string]string{"a": "1"}, Complete: true},
		"part": {Data: map[string]string{"a": "1"}, Missing: []string{"gone"}, Err: lost},
		"none": {Err: lost},
	}
	f.Files.Secrets = f.Files.ConfigMaps
	for _, c := range []struct {
		name, key string
		optional  bool
		want      string // empty: the variable is left out
		says      string // of the error
	}{
		{"all", "a", false, "1", ""},
		{"part", "a", false, "1", ""},
		{"all", "gone", true, "", ""},
		{"part", "gone", true, "", ""},
		{"all", "gone", false, "", "couldn't find key gone in %s prod/all"},
		{"part", "gone", false, "", "couldn't find key gone in %s prod/part"},
		{"part", "other", true, "", "the API server is not asked: no volume holds it"},
		{"none", "a", false, "", "prod/none is not known on this node"},
		{"none", "a", true, "", "optional key a"},
		{"never heard of", "a", true, "", "not known"},
	} {
		for title, v := range map[string]corev1.EnvVar{"ConfigMap": configKey(c.name, c.key, c.optional), "Secret": secretKey(c.name, c.key, c.optional)} {
			spec := goodSpec()
			spec.Env = []corev1.EnvVar{v}
			env, err := planEnv(f, spec, nil)
			says := strings.ReplaceAll(c.says, "%s", title)
			switch {
			case says != "":
				if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "environment variable V") {
					t.Errorf("%s %s/%s: %v, want %q", title, c.name, c.key, err, says)
				}
			case err != nil:
				t.Errorf("%s %s/%s: %v", title, c.name, c.key, err)
			case c.want == "" && len(env) > 0 || c.want != "" && !slices.Equal(env, []EnvVar{{"V", c.want}}):
				t.Errorf("%s %s/%s: %v, want %q", title, c.name, c.key, env, c.want)
			}
		}
	}
}

func TestEnvFrom(t *testing.T) {
	f := goodFacts()
	f.Target.Env = []EnvVar{{"WEB_SERVICE_HOST", "10.0.0.1"}, {"WEB_SERVICE_PORT", "80"}}
	f.Files.ConfigMaps = map[string]Object{"c": {Data: map[string]string{"B": "2", "A": "1"}, Complete: true}, "part": {Data: map[string]string{"A": "1"}}}
	f.Files.Secrets = map[string]Object{"s": {Data: map[string]string{"A": "secret"}, Complete: true}}
	from := func(prefix, configMap, secret string) corev1.EnvFromSource {
		out := corev1.EnvFromSource{Prefix: prefix}
		if configMap != "" {
			out.ConfigMapRef = &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: configMap}}
		}
		if secret != "" {
			out.SecretRef = &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}
		}
		return out
	}
	spec := goodSpec()
	spec.EnvFrom = []corev1.EnvFromSource{from("", "c", ""), from("S_", "", "s"), from("", "", "s")}
	spec.Env = []corev1.EnvVar{{Name: "B", Value: "$(A)-$(S_A)-$(WEB_SERVICE_HOST)"}}
	got, err := planEnv(f, spec, []EnvVar{{"A", "copied"}, {"OWN", "copied"}})
	want := []EnvVar{{"OWN", "copied"}, {"S_A", "secret"}, {"A", "secret"}, {"B", "secret-secret-10.0.0.1"}, f.Target.Env[0], f.Target.Env[1]}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got  %v, %v\nwant %v", got, err, want)
	}
	for _, missing := range []corev1.EnvFromSource{from("", "part", ""), from("", "none", ""), from("", "", "none")} {
		spec.EnvFrom = []corev1.EnvFromSource{missing}
		if _, err := planEnv(f, spec, nil); !errdefs.IsNotFound(err) {
			t.Errorf("%+v: %v", missing, err)
		}
	}
}

// What the target's own spec declares is no service's, whatever its name.
func TestDeclaredIsNoService(t *testing.T) {
	f := goodFacts()
	f.Target.Env = []EnvVar{{"DB_SERVICE_HOST", "x"}, {"DB_SERVICE_PORT", "1"}, {"DB_SERVICE_PORT_ADMIN", "secret"}, {"WEB_SERVICE_HOST", "10.0.0.1"}, {"WEB_SERVICE_PORT", "80"}}
	f.Spec = &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Env: []corev1.EnvVar{{Name: "DB_SERVICE_HOST"}, {Name: "DB_SERVICE_PORT"}, {Name: "DB_SERVICE_PORT_ADMIN"}}}}}}
	if env, err := planEnv(f, goodSpec(), nil); err != nil || names(env) != "WEB_SERVICE_HOST WEB_SERVICE_PORT" {
		t.Errorf("%v, %v", env, err)
	}
}

func TestEnvFiles(t *testing.T) {
	yes := true
	ref := corev1.FileKeySelector{VolumeName: "shared", Path: "app.env", Key: "K"}
	key := FileKey{"shared", "app.env", "K"}
	f, spec := goodFacts(), goodSpec()
	spec.Env = []corev1.EnvVar{{Name: "V", ValueFrom: &corev1.EnvVarSource{FileKeyRef: &ref}}}
	f.Files.EnvFiles = map[FileKey]EnvFile{key: {Value: "1", Found: true}}
	if env, err := planEnv(f, spec, nil); err != nil || !slices.Equal(env, []EnvVar{{"V", "1"}}) {
		t.Errorf("%v, %v", env, err)
	}
	f.Files.EnvFiles[key] = EnvFile{}
	if _, err := planEnv(f, spec, nil); !errdefs.IsNotFound(err) {
		t.Errorf("no such key: %v", err)
	}
	ref.Optional = &yes
	if env, err := planEnv(f, spec, nil); err != nil || env != nil {
		t.Errorf("an optional one: %v, %v", env, err)
	}
	f.Files.EnvFiles[key] = EnvFile{Err: errdefs.ErrInvalidArgument}
	if _, err := planEnv(f, spec, nil); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

func TestDownwardFields(t *testing.T) {
	f := goodFacts()
	f.Sandbox.IPs = []string{"10.0.0.9", "fd00::9"}
	f.Pod.Annotations = map[string]string{"note": "a \"b\"", "io.kubernetes.pod.terminationGracePeriod": "2"}
	f.Node.Name, f.SpecSource = "node1", "nobody"
	told := goodFacts()
	told.Spec = &corev1.Pod{Spec: corev1.PodSpec{NodeName: "node2", ServiceAccountName: "robot"}}
	told.Spec.Labels = map[string]string{"b": "2", "a": "1"}
	told.Spec.Status = corev1.PodStatus{PodIP: "10.1.1.1", HostIP: "192.0.2.1", HostIPs: []corev1.HostIP{{IP: "192.0.2.1"}, {IP: "2001:db8::1"}}}
	onHost := goodFacts()
	onHost.Sandbox.Network, onHost.Spec = ModeNode, told.Spec.DeepCopy()
	onHost.Spec.Status.PodIP = ""
	for _, c := range []struct {
		f           *Facts
		field, want string // an empty want is ErrNotFound
	}{
		{f, "metadata.name", "web"}, {f, "metadata.namespace", "prod"}, {f, "metadata.uid", "u1"},
		{f, "metadata.labels['app']", "web"}, {f, "metadata.annotations['note']", "a \"b\""},
		{f, "status.podIP", "10.0.0.9"}, {f, "status.podIPs", "10.0.0.9,fd00::9"}, {f, "spec.nodeName", "node1"},
		{f, "spec.serviceAccountName", ""}, {f, "status.hostIP", ""}, {f, "status.hostIPs", ""},
		{told, "spec.nodeName", "node2"}, {told, "spec.serviceAccountName", "robot"}, {told, "status.podIP", "10.1.1.1"},
		{told, "status.hostIP", "192.0.2.1"}, {told, "status.hostIPs", "192.0.2.1,2001:db8::1"}, {told, "metadata.labels['b']", "2"},
		{onHost, "status.podIP", "192.0.2.1"},
	} {
		got, err := c.f.fieldValue(&corev1.ObjectFieldSelector{FieldPath: c.field})
		if got != c.want || (c.want == "") != errdefs.IsNotFound(err) {
			t.Errorf("%s: %q, %v; want %q", c.field, got, err, c.want)
		}
	}
	// Another container was told.
	shown := goodFacts()
	from := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	shown.Spec = &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Env: []corev1.EnvVar{
		{Name: "A", ValueFrom: from("status.hostIP")}, {Name: "A", Value: "mine"}, {Name: "B", ValueFrom: from("status.hostIP")}, {Name: "C", ValueFrom: from("status.hostIPs")}, {Name: "C", Value: "mine"},
	}}}}}
	shown.Target.Env = []EnvVar{{"A", "mine"}, {"B", "192.0.2.7"}, {"C", "mine"}}
	if got, err := shown.fieldValue(&corev1.ObjectFieldSelector{FieldPath: "status.hostIP"}); err != nil || got != "192.0.2.7" {
		t.Errorf("as another container has it: %q, %v", got, err)
	}
	if got, err := shown.fieldValue(&corev1.ObjectFieldSelector{FieldPath: "status.hostIPs"}); err == nil {
		t.Errorf("a variable that was replaced tells nothing: %q", got)
	}
	if got, err := told.metadataValue("metadata.labels"); err != nil || got != "a=\"1\"\nb=\"2\"" {
		t.Errorf("all labels: %q, %v", got, err)
	}
	if got, err := f.metadataValue("metadata.annotations['io.kubernetes.pod.terminationGracePeriod']"); err != nil || got != "" {
		t.Errorf("an annotation that is kubelet's, not the pod's: %q, %v", got, err)
	}
	for _, bad := range []string{"metadata.labels['a b']", "status.phase['x']", "spec.containers"} {
		if _, err := f.metadataValue(bad); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestDownwardResources(t *testing.T) {
	f := goodFacts()
	f.Spec = podWith(nil)
	f.Spec.Spec.Containers = []corev1.Container{{Name: "app", Resources: corev1.ResourceRequirements{
		Limits: list("cpu", "1500m", "hugepages-2Mi", "4Mi"), Requests: list("memory", "100Mi"),
	}}}
	f.Spec.Spec.InitContainers = []corev1.Container{{Name: "setup", Resources: corev1.ResourceRequirements{Limits: list("memory", "7Mi")}}}
	f.Node.Allocatable = list("cpu", "4", "memory", "8Gi")
	limited := goodFacts()
	limited.Spec, limited.Node.Allocatable = podWith(list("memory", "1Gi")), f.Node.Allocatable
	for _, c := range []struct {
		f                              *Facts
		container, name, divisor, want string
	}{
		{f, "app", "limits.cpu", "", "2"}, {f, "app", "limits.cpu", "1m", "1500"}, {f, "app", "requests.memory", "1Mi", "100"},
		{f, "app", "limits.hugepages-2Mi", "1Mi", "4"}, {f, "app", "requests.cpu", "", "0"},
		{f, "app", "limits.memory", "1Gi", "8"}, // all that the node has
		{f, "", "limits.cpu", "", "4"}, {f, "", "requests.cpu", "", "0"}, {f, "", "limits.hugepages-2Mi", "", "0"},
		{limited, "", "limits.memory", "1Mi", "1024"}, {f, "setup", "limits.cpu", "", "0"}, {f, "setup", "limits.memory", "1Mi", "7"},
	} {
		ref := &corev1.ResourceFieldSelector{ContainerName: c.container, Resource: c.name}
		if c.divisor != "" {
			ref.Divisor = resource.MustParse(c.divisor)
		}
		if got, err := c.f.resourceValue(ref); err != nil || got != c.want {
			t.Errorf("%s of %q by %q: %q, %v; want %q", c.name, c.container, c.divisor, got, err, c.want)
		}
	}
	f.Node.Allocatable = nil
	for _, ref := range []corev1.ResourceFieldSelector{
		{ContainerName: "nope", Resource: "limits.cpu"}, {Resource: "limits.memory"}, {ContainerName: "app", Resource: "limits.ephemeral-storage"},
	} {
		if got, err := f.resourceValue(&ref); !errdefs.IsNotFound(err) {
			t.Errorf("%+v: %q, %v", ref, got, err)
		}
	}
	f.Spec = nil
	if _, err := f.resourceValue(&corev1.ResourceFieldSelector{ContainerName: "app", Resource: "limits.cpu"}); !errdefs.IsNotFound(err) {
		t.Errorf("without the spec: %v", err)
	}
}

func TestCopiedEnv(t *testing.T) {
	env, dropped := copiedEnv(&Target{Environ: []EnvVar{
		{"PATH", "/app/bin"}, {"HOSTNAME", "web"}, {"DB_HOST", "db"}, {"LD_PRELOAD", "/evil.so"}, {"BASH_ENV", "/evil"}, {"PROMPT_COMMAND", "evil"},
		{"ENV", "/evil"}, {"PYTHONSTARTUP", "/evil"}, {"BASH_FUNC_ls%%", "() { evil; }"}, {"GIT_SSH_COMMAND", "evil"}, {"PERL5OPT", "-Mevil"},
		{"APP_LD_PATH", "fine"}, {"A", "1"}, {"NUL", "a\x00b"}, {"", "x"}, {"b\n", "x"},
	}})
	if want := []EnvVar{{"A", "1"}, {"APP_LD_PATH", "fine"}, {"DB_HOST", "db"}}; !slices.Equal(env, want) {
		t.Errorf("copied %v, want %v", env, want)
	}
	if want := []string{"BASH_ENV", "BASH_FUNC_ls%%", "ENV", "GIT_SSH_COMMAND", "LD_PRELOAD", "PERL5OPT", "PROMPT_COMMAND", "PYTHONSTARTUP"}; !slices.Equal(dropped, want) {
		t.Errorf("dropped %v, want %v", dropped, want)
	}
	f, r := goodFacts(), goodRequest()
	f.Target.Environ = []EnvVar{{"A", "1"}, {"LD_PRELOAD", "x"}}
	r.CopyEnv, r.Spec.Env = true, []corev1.EnvVar{{Name: "B", Value: "$(A)2"}}
	p := mustPlan(t, f, r)
	if !slices.Equal(p.Env, []EnvVar{{"A", "1"}, {"B", "12"}}) || !strings.Contains(strings.Join(p.Warnings, " "), "LD_PRELOAD") {
		t.Errorf("%v, warnings %q", p.Env, p.Warnings)
	}
	f.Target = nil
	if _, err := NewPlan(f, r); !errdefs.IsInvalidArgument(err) {
		t.Errorf("no target: %v", err)
	}
}
