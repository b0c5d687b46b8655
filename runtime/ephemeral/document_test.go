package ephemeral

import (
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestDecode(t *testing.T) {
	for _, doc := range []string{
		"name: a\nimage: b\nenv:\n- {name: X, value: '1'}\nsecurityContext: {runAsUser: 9007199254740993}\n",
		`{"name":"a","image":"b","env":[{"name":"X","value":"1"}],"securityContext":{"runAsUser":9007199254740993}}`,
		"# a comment\n---\n{name: a, image: b, env: [{name: X, value: \"1\"}], securityContext: {runAsUser: 9007199254740993}}\n---\n# nothing\n",
		"\ufeff" + "name: a\r\nimage: b\r\nenv:\r\n- name: X\r\n  value: '1'\r\nsecurityContext:\r\n  runAsUser: 9007199254740993\r\n...\r\n",
		"x: &x {name: X, value: '1'}\n", // to be refused, and only for x
	} {
		want := &corev1.EphemeralContainer{}
		want.Name, want.Image, want.Env = "a", "b", []corev1.EnvVar{{Name: "X", Value: "1"}}
		want.SecurityContext = &corev1.SecurityContext{RunAsUser: new(int64(9007199254740993))}
		got, err := Decode([]byte(doc))
		if strings.HasPrefix(doc, "x:") {
			if err == nil || err.Error() != `unknown field "x"` {
				t.Errorf("%q: %v", doc, err)
			}
			continue
		}
		if err != nil || !equality.Semantic.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v", doc, got, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	const wanted = "; one ephemeral container is wanted, as in a pod's spec.ephemeralContainers"
	for _, c := range []struct{ doc, says string }{
		{"", "the document is empty" + wanted},
		{"# only a comment\n---\n", "the document is empty" + wanted},
		{"null", "the document is empty" + wanted},
		{"- name: a", "the document is a list" + wanted},
		{`["a"]`, "the document is a list" + wanted},
		{"name", "the document is a string" + wanted},
		{"3", "the document is a number" + wanted},
		{"true", "the document is a boolean" + wanted},
		{"name: a\n---\nname: b\n", "there are several documents; give one"},
		{"---\nname: a\n---\n---\n- b\n", "there are several documents; give one"},
		{"name: a\n...\nname: b\n", "yaml: line 2: did not find expected <document start>"},
		{`{"name":"a"}{"name":"b"}`, "something follows the end of the document; give one"},
		{`{"name":"a"} x`, "something follows the end of the document; give one"},
		{"{name: a", "yaml: line 1: did not find expected ',' or '}'"},
		{"name: \xff", "yaml: invalid leading UTF-8 octet"},
		{"Name: a\nimages: b\nsecurityContext: {foo: 1, capabilities: {ad: [A]}}\nenv: [{name: A}, {name: B, valuefrom: {}}]",
			"unknown field \"Name\"\nunknown field \"env[1].valuefrom\"\nunknown field \"images\"\nunknown field \"securityContext.capabilities.ad\"\nunknown field \"securityContext.foo\""},
		{"name: a\nname: b\nimage: c\nimage: d\nx: 1", "line 2: key \"name\" already set in map\nline 4: key \"image\" already set in map\nunknown field \"x\""},
		{`{"name":"a","name":"b","env":[{"name":"x","name":"y","z":1}]}`, "duplicate field \"name\"\nduplicate field \"env[0].name\"\nunknown field \"env[0].z\""},
		{"name: 3\ntty: 'yes'\nenv: [{name: A, value: a}, {name: B, value: 1}, {name: C, value: true}]\nsecurityContext: {runAsUser: 1.5}",
			"env[1].value: number is given where string is wanted\nenv[2].value: bool is given where string is wanted\nname: number is given where string is wanted\n" +
				"securityContext.runAsUser: number 1.5 is given where int64 is wanted\ntty: string is given where bool is wanted"},
		{"env: {A: b}\nvolumeMounts: [a]\nsecurityContext: []", "env: object is given where []EnvVar is wanted\nsecurityContext: array is given where SecurityContext is wanted\nvolumeMounts[0]: string is given where VolumeMount is wanted"},
		{"livenessProbe: {httpGet: {port: {}}}", "livenessProbe.httpGet.port: object is given where int32 is wanted"},
		{"env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: much}}}]",
			"env[0].valueFrom.resourceFieldRef.divisor: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"},
		{"apiVersion: v1", `unknown field "apiVersion"`},
		{"kind: Deployment\napiVersion: apps/v1\nmetadata: {name: a}", `kind: "Deployment": an ephemeral container has no kind; give its fields`},
		{"kind: Pod\nmetadata: {name: a}", `kind: "Pod": an ephemeral container has no kind`},
		{"kind: 3", `kind: "3": an ephemeral container has no kind`},
		{"Kind: Pod\napiVersion: v1", "unknown field \"Kind\"\nunknown field \"apiVersion\""},
	} {
		spec, err := Decode([]byte(c.doc))
		var pod *NotContainer
		if spec != nil || !errdefs.IsInvalidArgument(err) || errors.As(err, &pod) || !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%q: %v, %v; want %s", c.doc, spec, err, c.says)
		}
	}
}

func TestDecodeOfAPod(t *testing.T) {
	for doc, says := range map[string]string{
		"kind: Pod\napiVersion: v1\nmetadata: {name: a, namespace: b}\nspec: {x: 1}":  `the document is the Pod "b/a", not an ephemeral container`,
		`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","labels":{"b":"c"}}}`: `the document is the Pod "a", not an ephemeral container`,
	} {
		_, err := Decode([]byte(doc))
		var pod *NotContainer
		if !errors.As(err, &pod) || !errdefs.IsInvalidArgument(err) || err.Error() != says {
			t.Errorf("%s: %v", doc, err)
		}
		if pod != nil && (pod.Kind != "Pod" || pod.Name != "a" || pod.Namespace != "b" && strings.Contains(doc, "namespace")) {
			t.Errorf("%s: %+v", doc, pod)
		}
	}
}

func TestEncode(t *testing.T) {
	spec := &corev1.EphemeralContainer{TargetContainerName: "app"}
	spec.Name, spec.Image, spec.Stdin = "debug", "busybox:1", true
	spec.Command = []string{"sh", "-c", "a\n b: #c\t\u2028\x00\x1b'\""}
	spec.Env = []corev1.EnvVar{
		{Name: "A", Value: "yes"}, {Name: "B", Value: "1e3"},
		{Name: "C", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu"}}},
		{Name: "D", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu", Divisor: resource.MustParse("1m")}}},
	}
	spec.SecurityContext = &corev1.SecurityContext{RunAsUser: new(int64(9007199254740993)), Privileged: new(false)}
	doc, err := Encode(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, unwanted := range []string{"resources", "null", "{}", "divisor: \"0\""} {
		if strings.Contains(string(doc), unwanted) {
			t.Errorf("%s in\n%s", unwanted, doc)
		}
	}
	if again, err := Decode(doc); err != nil || !equality.Semantic.DeepEqual(spec, again) {
		t.Errorf("%v, %v from\n%s", again, err, doc)
	}
	spec.Resources.Limits = corev1.ResourceList{"cpu": resource.MustParse("1")}
	if doc, err := Encode(spec); err != nil || !strings.Contains(string(doc), "resources:\n  limits:\n    cpu: \"1\"\n") {
		t.Errorf("what is not allowed is written all the same: %v\n%s", err, doc)
	}
	spec.Args = []string{"\xff"}
	if doc, err := Encode(spec); !errdefs.IsInvalidArgument(err) {
		t.Errorf("not UTF-8: %q, %v", doc, err)
	}
}
