package node

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/porthole-project/porthole/test/testenv"
)

// TestEntrypoint has an image with an entrypoint, so that it shows what becomes
// of that: /app exit N ends with N.
func TestEntrypoint(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "entry"})
		image := []string{"debug", p.Name, "--image=" + testenv.ImageApp, "-q"}
		for _, tc := range []struct {
			rest []string
			code int
		}{
			{[]string{"--arguments-only", "--", "exit", "7"}, 7},
			{[]string{"--", "/app", "exit", "8"}, 8},
			{[]string{"--", "exit", "9"}, 127},
			{[]string{"--entrypoint=/app", "--", "exit", "10"}, 10},
			{[]string{"-f", e.file("args.yaml", "name: a\nimage: "+testenv.ImageApp+"\nargs: [exit, '11']\n")}, 11},
			{[]string{"-f", e.file("both.yaml", "name: b\nimage: x\ncommand: [/no]\nargs: [exit, '12']\n"), "--entrypoint=/app", "--", "exit", "13"}, 13},
			{[]string{"-f", e.file("flags.yaml", "name: c\nimage: x\ncommand: [/app]\nargs: [exit, '14']\n"), "--arguments-only", "--", "exit", "15"}, 15},
		} {
			if r := e.run(append(image, tc.rest...)...); r.code != tc.code || r.stdout != "" {
				e.Errorf("%q: %s; want exit code %d", tc.rest, r, tc.code)
			}
		}
		e.refused(e.run(append(image, "--entrypoint=", "--", "x")...), "no entrypoint", "--entrypoint is empty")
		e.refused(e.run(append(image, "--entrypoint=/app", "--arguments-only", "--", "x")...), "both", "--entrypoint and --arguments-only")
		e.refused(e.run(debug(p, "--user=stranger", "--", "true")...), "a user that the image does not know", `user "stranger"`, "--user")
	})
}

// TestTerminationMessage: the file is kubelet's, at the path of the spec, and
// goes with the container.
func TestTerminationMessage(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "message"})
		spec := e.file("spec.json", `{"name":"dbg","image":"`+testenv.ImageBusybox+`","stdin":true,"terminationMessagePath":"/last/words","terminationMessagePolicy":"FallbackToLogsOnError",
			"command":["sh","-c","echo why > /last/words; ls /dev/termination-log; echo written; read end"]}`)
		c := e.command("debug", p.Name, "-q", "-f", spec)
		in, err := c.cmd.StdinPipe()
		if err != nil {
			e.Fatal(err)
		}
		c.start()
		c.await(c.stdout, "written\n")
		files, err := filepath.Glob(filepath.Join(e.node.KubeletRoot(), "pods", p.UID, "containers", "dbg", "*"))
		if err != nil || len(files) != 1 {
			e.Fatalf("kubelet's directory of the container has %q, %v", files, err)
		}
		if text, err := os.ReadFile(files[0]); err != nil || string(text) != "why\n" {
			e.Errorf("%s has %q, %v", files[0], text, err)
		}
		notes := e.opened().GetAnnotations()
		if path, policy := notes["io.kubernetes.container.terminationMessagePath"], notes["io.kubernetes.container.terminationMessagePolicy"]; path != "/last/words" || policy != "FallbackToLogsOnError" {
			e.Errorf("the annotations say %q, %q", path, policy)
		}
		_ = in.Close()
		if c.wait(); !strings.Contains(c.stderr.String(), "ls: /dev/termination-log: No such file") {
			e.Errorf("stderr %s", c.stderr)
		}
		if _, err := os.Stat(filepath.Dir(files[0])); !errors.Is(err, fs.ErrNotExist) {
			e.Errorf("the directory of the container: %v", err)
		}
	})
}

// TestSpecsRoundTrip: what -o spec prints is what the API has words for, and
// with the same options beside it the same request.
func TestSpecsRoundTrip(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "rounds", Containers: []testenv.ContainerSpec{{Name: "app", Mounts: []testenv.Mount{{Volume: "v", Path: "/v"}}}}})
		custom := e.file("custom.yaml", "env:\n- {name: A, value: over}\n- {name: C, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}\nworkingDir: /tmp\nsecurityContext: {readOnlyRootFilesystem: true}\n")
		for _, tc := range []struct{ spec, beside []string }{
			{[]string{"--profile=sysadmin", "--target=", "--image-pull-policy=Never"}, nil},
			{[]string{"--profile=legacy", "-i", "--target=app", "--", "sh"}, nil},
			{[]string{"--profile=baseline", "--user=5:6", "--workdir=/etc", "--entrypoint=sh", "--", "-c", "$(A) $$ $(B)"}, nil},
			{[]string{"--env=A=1", "--env=B=$(A)", "--custom=" + custom, "--arguments-only", "--", "a b", ""}, []string{"--memory=64Mi", "--copy-env", "--share-volumes=ro", "--user=app"}},
			{[]string{"--as-target"}, []string{"--pids-limit=9", "--cpus=1", "--oom-score-adj=1000"}},
		} {
			dry := func(args ...string) string {
				e.Helper()
				r := e.run(args...)
				if r.code != 0 {
					e.Fatalf("%q: %s", args, r)
				}
				return r.stdout
			}
			start := []string{"debug", p.Name, "-q", "--dry-run"}
			byFlags := append(append(append([]string{}, start...), tc.beside...), append([]string{"--image=" + testenv.ImageBusybox, "-c", "same"}, tc.spec...)...)
			spec := dry(append([]string{byFlags[0], "-o", "spec"}, byFlags[1:]...)...)
			file := e.file("spec.yaml", spec)
			again := append(append(append([]string{}, start...), "-f", file), tc.beside...)
			if one, two := e.request(dry(byFlags...)), e.request(dry(again...)); one != two {
				e.Errorf("%q: by flags\n%s\nand from the spec\n%s", tc.spec, one, two)
			}
			if twice := dry(append(again, "-o", "spec")...); twice != spec {
				e.Errorf("%q: the spec\n%s\nbecomes\n%s", tc.spec, spec, twice)
			}
			var container corev1.EphemeralContainer
			if err := yaml.UnmarshalStrict([]byte(spec), &container); err != nil || container.Name != "same" {
				e.Errorf("%q: %v in\n%s", tc.spec, err, spec)
			}
		}
	})
}

// request is a printed request without what differs from run to run.
func (e *env) request(text string) string {
	e.Helper()
	var request map[string]any
	if err := json.Unmarshal([]byte(text), &request); err != nil {
		e.Fatalf("%v: %s", err, brief(text))
	}
	config := request["config"].(map[string]any)
	labels := config["labels"].(map[string]any)
	for _, key := range []string{"session", "keeper", "expires"} {
		if labels["porthole.dev/"+key] == "" {
			e.Errorf("no label %s in %s", key, brief(text))
		}
		labels["porthole.dev/"+key] = "any"
	}
	for _, m := range config["mounts"].([]any) {
		if m := m.(map[string]any); m["container_path"] == "/dev/termination-log" {
			m["host_path"] = "any"
		}
	}
	out, err := json.MarshalIndent(request, "", " ")
	if err != nil {
		e.Fatal(err)
	}
	return string(out)
}

// TestHistory: the list and each document say the same, for who was removed by
// others too, and a gc forgets what was added to a pod that has gone.
func TestHistory(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "history"})
		stays := e.pod(testenv.PodSpec{Name: "stays"})
		if r := e.run(debug(stays, "-c", "other", "--", "true")...); r.code != 0 {
			e.Fatal(r)
		}
		if r := e.run(debug(p, "-c", "first", "--copy-env", "--", "sh", "-c", "exit 3")...); r.code != 3 {
			e.Fatal(r)
		}
		e.orphan(p, "-c", "second", "--env=SHOWN=x")
		if r := e.run("gc"); r.code != 0 {
			e.Fatal(r)
		}
		var list struct{ Items []session }
		if r := e.run("ps", "-a", "-o", "json"); r.code != 0 || json.Unmarshal([]byte(r.stdout), &list) != nil || len(list.Items) != 3 {
			e.Fatal(r)
		}
		for _, s := range list.Items {
			var doc struct {
				inspected `json:",inline"`
				PodUID    string
				Spec      corev1.EphemeralContainer
			}
			if err := yaml.Unmarshal([]byte(e.inspectYAML(s.Session)), &doc); err != nil {
				e.Fatal(err)
			}
			if doc.Session != s.Session || doc.ID != s.ID || doc.PodUID != s.PodUID || s.State != "gone" || doc.State != "gone" || doc.Spec.Name != s.Container || doc.Spec.Image != testenv.ImageBusybox {
				e.Errorf("ps says %+v and inspect %+v", s, doc)
			}
			switch s.Container {
			case "first":
				if s.ExitCode == nil || *s.ExitCode != 3 || doc.Options["copy-env"] != "true" || doc.Cause != "" {
					e.Errorf("%+v", doc)
				}
			case "second":
				if s.ExitCode != nil || doc.Cause != "lost its keeper" || len(doc.Spec.Env) != 1 || doc.Spec.Env[0].Name != "SHOWN" {
					e.Errorf("%+v", doc)
				}
			}
		}
		e.refused(e.run(debug(p, "-c", "second", "--", "true")...), "the name of one that was collected", `"second" was used in pod`)
		if r := e.run(debug(stays, "-c", "second", "--", "true")...); r.code != 0 {
			e.Errorf("the name in another pod: %s", r)
		}
		e.changes(p)
		if err := p.Remove(e.Context()); err != nil {
			e.Fatal(err)
		}
		if r := e.run("gc"); r.code != 0 || strings.Contains(e.records(), p.UID) || strings.Count(e.records(), stays.UID) == 0 {
			e.Errorf("gc: %s; the records are %s", r, e.records())
		}
	})
}
