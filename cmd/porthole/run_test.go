package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/porthole-project/porthole/cri/critest"
)

// plainPod is a pod of CRI-O's recording.
const plainPod = "plain-testnode2"

// program runs porthole against a recorded node and returns its exit code, what
// it printed and what it said.
func program(t *testing.T, s *critest.Server, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	all := append([]string{"porthole", "--runtime-endpoint", s.Endpoint(), "--state-dir", dir, "--kubelet-root", dir}, args...)
	var out, errs bytes.Buffer
	code = run(t.Context(), all, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func crio(t *testing.T) *critest.Server {
	t.Helper()
	return critest.New(t, critest.WithRecording(critest.Load(t, "crio-1.37")))
}

func TestBadUsage(t *testing.T) {
	s := crio(t)
	image := "--image=localhost/busybox:1"
	for _, c := range []struct {
		says string
		args []string
	}{
		{"no pod is named", []string{"debug", image}},
		{"one pod at a time", []string{"debug", "a", "b", image}},
		{"no command behind --", []string{"debug", "web", image, "--"}},
		{"--arguments-only needs arguments", []string{"debug", "web", image, "--arguments-only"}},
		{"-t needs -i", []string{"debug", "web", image, "-t"}},
		{`--output "xml": want json, yaml or spec`, []string{"debug", "web", image, "--dry-run", "-o", "xml"}},
		{"no image", []string{"debug", "web"}},
		{`image: Invalid value: "Bad Image"`, []string{"debug", plainPod, "--image", "Bad Image"}},
		{`--image-pull-policy "Sometimes"`, []string{"debug", "web", image, "--image-pull-policy", "Sometimes"}},
		{`--env "A": want NAME=VALUE`, []string{"debug", "web", image, "--env", "A"}},
		{`--env "=b": want NAME=VALUE`, []string{"debug", "web", image, "--env", "=b"}},
		{`profile "root" is not known`, []string{"debug", "web", image, "--profile", "root"}},
		{"--ttl 0s", []string{"debug", "web", image, "--ttl", "0s"}},
		{"--ttl -1s", []string{"debug", "web", image, "--ttl=-1s"}},
		{"--ttl 10000h0m0s", []string{"debug", "web", image, "--ttl", "10000h"}},
		{`pod name "Web"`, []string{"debug", "Web", image}},
		{`namespace "No"`, []string{"debug", "web", image, "-n", "No"}},
		{"is in namespace prod but -n says test", []string{"debug", "prod/web", image, "-n", "test"}},
		{"this version opens pods only", []string{"debug", "node/a", image}},
		{"-nonsense", []string{"debug", "web", "--nonsense"}},
		{`unknown command "exec"`, []string{"exec", "web"}},
		{"pods takes no argument", []string{"pods", "web"}},
		{"-A and -n exclude each other", []string{"pods", "-A", "-n", "prod"}},
		{"--selector", []string{"pods", "-l", "a in"}},
		{"--output", []string{"pods", "-o", "xml"}},
		{"ps takes no argument", []string{"ps", "x"}},
		{"gc takes no argument", []string{"gc", "x"}},
		{"--timeout 0s", []string{"--timeout", "0s", "pods"}},
		{"no pod nope on this node: default/", []string{"debug", "nope", image}},
		{`no container "nope" (it has app)`, []string{"debug", plainPod, image, "--target", "nope"}},
	} {
		code, stdout, stderr := program(t, s, c.args...)
		if code != exitOurs || !strings.Contains(stderr, c.says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit code %d, said %q; want one line with %q", c.args, code, stderr, c.says)
		}
		if stdout != "" {
			t.Errorf("%q printed %.200q", c.args, stdout)
		}
	}
	if n := len(s.Created()); n != 0 {
		t.Errorf("%d containers were asked for", n)
	}
}

func TestNoRuntime(t *testing.T) {
	s := crio(t)
	s.Down()
	code, _, stderr := program(t, s, "pods")
	if code != exitOurs || !strings.Contains(stderr, s.Endpoint()+": no such socket") {
		t.Errorf("%d, %q", code, stderr)
	}
	s.Up()
}

func TestListings(t *testing.T) {
	s := crio(t)
	code, stdout, stderr := program(t, s, "pods", "-n", "default")
	if code != 0 || stderr != "" || strings.Count(stdout, "\n") != 9 || !strings.Contains(stdout, plainPod) || !strings.Contains(stdout, "app,side") && !strings.Contains(stdout, "side,app") {
		t.Errorf("%d, %q:\n%s", code, stderr, stdout)
	}
	if code, stdout, stderr = program(t, s, "pods", "-n", "nowhere", "-o", "json"); code != 0 || !strings.Contains(stdout, `"items": []`) || !strings.Contains(stderr, "No pods") {
		t.Errorf("%d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, _ = program(t, s, "pods", "-o", "name", "-l", "io.kubernetes.pod.name="+plainPod); code != 0 || stdout != "pod/"+plainPod+"\n" {
		t.Errorf("%d, %q", code, stdout)
	}
	if code, stdout, stderr = program(t, s, "ps"); code != 0 || stdout != "" || !strings.Contains(stderr, "No debug containers") {
		t.Errorf("%d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, stderr = program(t, s, "gc"); code != 0 || stdout != "" || !strings.Contains(stderr, "Nothing to remove") {
		t.Errorf("%d, %q, %q", code, stdout, stderr)
	}
}

// withoutSession drops what differs between two runs of the same command line.
func withoutSession(t *testing.T, doc any) any {
	t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	labels, _ := out["config"].(map[string]any)["labels"].(map[string]any)
	if labels["porthole.dev/session"] == nil || labels["porthole.dev/expires"] == nil {
		t.Errorf("labels %v", labels)
	}
	maps.DeleteFunc(labels, func(key string, _ any) bool { return key == "porthole.dev/session" || key == "porthole.dev/expires" })
	return out
}

// TestDryRunIsTheRealRun: what --dry-run prints is what a real run then sends.
func TestDryRunIsTheRealRun(t *testing.T) {
	s := crio(t)
	s.OnStart(func(c *critest.Container) (int, error) {
		_ = c.Log("stdout", "hello\n")
		c.Exit(3)
		return 0, nil
	})
	forgetTarget(t, s)
	args := []string{"debug", plainPod, "--image", "localhost/busybox:1", "--target", "app", "-c", "dbg", "--env", "A=<&>\"$(B)", "--profile", "netadmin", "-q"}
	command := []string{"--", "sh", "-c", "echo $(A) '$$'"}
	code, doc, stderr := program(t, s, append(append(args, "--dry-run"), command...)...)
	if code != 0 || stderr != "" || len(s.Created()) != 0 {
		t.Fatalf("%d, %q, %d created", code, stderr, len(s.Created()))
	}
	_, text, _ := program(t, s, append(append(args, "--dry-run", "-o", "yaml"), command...)...)
	code, stdout, stderr := program(t, s, append(args, command...)...)
	if code != 3 || stdout != "hello\n" || stderr != "" {
		t.Fatalf("exit code %d, printed %q, said %q", code, stdout, stderr)
	}
	if len(s.Created()) != 1 {
		t.Fatalf("%d created", len(s.Created()))
	}
	sent := withoutSession(t, s.Created()[0])
	var fromJSON, fromYAML any
	if err := json.Unmarshal([]byte(doc), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(text), &fromYAML); err != nil {
		t.Fatal(err)
	}
	if got := withoutSession(t, fromJSON); !reflect.DeepEqual(got, sent) {
		t.Errorf("printed\n%v\nsent\n%v", got, sent)
	}
	if got := withoutSession(t, fromYAML); !reflect.DeepEqual(got, sent) {
		t.Errorf("printed as YAML\n%v\nsent\n%v", got, sent)
	}
	checkHarmless(t, "dry run", doc+text)
}

// forgetTarget makes the runtime tell no process of the target: that which was
// recorded is anybody's on this machine.
func forgetTarget(t *testing.T, s *critest.Server) {
	t.Helper()
	_, out, _ := program(t, s, "pods", "-o", "json", "-l", "io.kubernetes.pod.name="+plainPod)
	var doc struct {
		Items []struct{ Containers []struct{ ID string } }
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil || len(doc.Items) != 1 {
		t.Fatalf("%v in %s", err, out)
	}
	for _, c := range doc.Items[0].Containers {
		s.Container(c.ID).SetPID(0)
	}
}

func TestMissingCommandAndCleanUp(t *testing.T) {
	s := crio(t)
	forgetTarget(t, s)
	args := []string{"debug", plainPod, "--image", "localhost/busybox:1", "-c", "dbg", "-q", "--", "/no/such"}
	code, stdout, stderr := program(t, s, args...)
	if code != exitNotFound || stdout != "" || !strings.Contains(stderr, `command "/no/such": command not found in the image`) {
		t.Errorf("%d, %q, %q", code, stdout, stderr)
	}
	if left, err := filepath.Glob(filepath.Join(s.LogRoot(), "*", "dbg")); err != nil || len(left) > 0 {
		t.Errorf("log directories left: %q, %v", left, err)
	}
	if code, _, _ := program(t, s, "ps", "-o", "name"); code != 0 {
		t.Error(code)
	}
}
