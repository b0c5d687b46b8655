package ephemeral

import (
	"reflect"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

func TestApplyCustom(t *testing.T) {
	for _, c := range []struct{ what, spec, custom, want string }{
		{"nothing", "name: a", " \n", "name: a"},
		{"null", "name: a", "null", "name: a"},
		{"comments", "name: a", "# none\n", "name: a"},
		{"no fields", "name: a", "{}", "name: a"},
		{"JSON", "name: a", `{"tty":true,"args":["x"]}`, "{name: a, tty: true, args: [x]}"},
		{"what is false is not there", "{name: a, tty: true}", "tty: false", "{name: a, tty: true}"},
		{"a security context merges", "{name: a, securityContext: {runAsUser: 1, capabilities: {add: [A], drop: [D]}}}", "securityContext: {runAsUser: 0, capabilities: {add: [B]}}",
			"{name: a, securityContext: {runAsUser: 0, capabilities: {add: [B], drop: [D]}}}"},
		{"args do not merge", "{name: a, args: [b, c]}", "args: [d]", "{name: a, args: [d]}"},
		{"env merges by name and nothing shows through", "{name: a, env: [{name: A, value: '1'}, {name: B, value: '2'}]}",
			"env: [{name: C, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: B, value: '3'}]",
			"{name: a, env: [{name: C, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: A, value: '1'}, {name: B, value: '3'}]}"},
		{"mounts merge by path", "{name: a, volumeMounts: [{name: v, mountPath: /a}]}", "volumeMounts: [{name: w, mountPath: /a, readOnly: true}]",
			"{name: a, volumeMounts: [{name: w, mountPath: /a, readOnly: true}]}"},
		{"ports merge by number", "{name: a, ports: [{containerPort: 1, name: b}, {containerPort: 2}]}", "ports: [{containerPort: 1, name: c}]", "{name: a, ports: [{containerPort: 1, name: c}, {containerPort: 2}]}"},
		{"what is patched keeps its place, what is new comes first, what is there twice together", "{name: a, volumeMounts: [{name: u, mountPath: /r}, {name: v, mountPath: /a}, {name: w, mountPath: /r}, {name: x, mountPath: /b}]}",
			"volumeMounts: [{name: p, mountPath: /p}, {name: q, mountPath: /b}]",
			"{name: a, volumeMounts: [{name: p, mountPath: /p}, {name: u, mountPath: /r}, {name: w, mountPath: /r}, {name: v, mountPath: /a}, {name: q, mountPath: /b}]}"},
		{"the target stays", "{name: a, targetContainerName: app}", "tty: true", "{name: a, targetContainerName: app, tty: true}"},
	} {
		spec := decodeCase(t, []byte(c.spec))
		if err := ApplyCustom(spec, []byte(c.custom)); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if want := decodeCase(t, []byte(c.want)); !reflect.DeepEqual(spec, want) {
			t.Errorf("%s:\n%v, want\n%v", c.what, spec, want)
		}
	}
}

func TestApplyCustomRefuses(t *testing.T) {
	const fixed = "name, command, image, lifecycle and volume devices are not modifiable via custom profile"
	for custom, says := range map[string]string{
		"name: a": fixed, "command: [a]": fixed, "image: a": fixed, "lifecycle: {}": fixed, "volumeDevices: [{name: a, devicePath: /b}]": fixed,
		"- a": "the document is a list; the fields of one container are wanted",
		"securityContext: {runasUser: 0}\nenvs: []": "unknown field \"envs\"\nunknown field \"securityContext.runasUser\"",
		"targetContainerName: app":                  `unknown field "targetContainerName"`,
		"tty: 3":                                    "tty: number is given where bool is wanted",
		"tty: true\ntty: true":                      `line 2: key "tty" already set in map`,
		"tty: true\n---\ntty: true":                 "there are several documents; give one",
		"{":                                         "yaml: line 1: did not find expected node content",
	} {
		spec := &corev1.EphemeralContainer{}
		spec.Name = "debug"
		before := spec.DeepCopy()
		err := ApplyCustom(spec, []byte(custom))
		if !errdefs.IsInvalidArgument(err) || err.Error() != says {
			t.Errorf("%q: %v, want %s", custom, err, says)
		}
		if !reflect.DeepEqual(spec, before) {
			t.Errorf("%q changed the spec: %v", custom, spec)
		}
	}
}
