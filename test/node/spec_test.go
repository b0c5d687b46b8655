package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/porthole-project/porthole/test/testenv"
)

// file writes a document for -f or --custom.
func (e *env) file(name, text string) string {
	e.Helper()
	path := filepath.Join(e.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		e.Fatal(err)
	}
	return path
}

const wholeSpec = `
name: whole
image: ` + testenv.ImageBusybox + `
imagePullPolicy: Never
command: [sh, -c]
args: ['id -u; id -g; pwd; echo $(WHO) "$$GREETING"; read line; echo got $line; test -w / || echo ro; echo why > /tmp/term; grep -c NoNewPrivs:.1 /proc/self/status']
workingDir: /tmp
stdin: true
targetContainerName: app
terminationMessagePath: /tmp/term
env:
- {name: WHO, value: world}
- {name: GREETING, value: "hello $(WHO) of $(POD)"}
- {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
securityContext:
  runAsUser: 1000
  runAsGroup: 2000
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
`

// TestSpecFromFile: the container is what the API's object says, and flags have
// the last word.
func TestSpecFromFile(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "spec"})
		r := e.command("debug", p.Name, "-f", e.file("whole.yaml", wholeSpec)).reading(strings.NewReader("input\n")).start().wait()
		want := "1000\n2000\n/tmp\nworld hello world of $(POD)\ngot input\nro\n1\n"
		if r.code != 0 || r.stdout != want {
			e.Errorf("%s\nwant %q", r, want)
		}
		if ours := e.inspectYAML("whole"); !strings.Contains(ours, "targetContainerName: app") || !strings.Contains(ours, "exitCode: 0") {
			e.Errorf("inspect says %s", ours)
		}
		r = e.command("debug", p.Name, "-f", e.file("whole.yaml", wholeSpec), "-c", "other", "--env=A=b", "--user=7:8", "--workdir=/", "--", "sh", "-c", "id -u; id -g; pwd; echo $A $WHO").start().wait()
		if r.code != 0 || r.stdout != "7\n8\n/\nb world\n" {
			e.Errorf("flags over the file: %s", r)
		}
		json := `{"name":"j","image":"` + testenv.ImageBusybox + `","command":["readlink","/proc/self/ns/pid"]}`
		r = e.command("debug", p.Name, "-f", "-").reading(strings.NewReader(json)).start().wait()
		if own := e.namespaceOf(p.Containers["app"].PID, "pid"); r.code != 0 || strings.TrimSpace(r.stdout) == own || !strings.Contains(r.stderr, "names no target") {
			e.Errorf("a spec without a target: %s; the target's is %s", r, own)
		}
		manifest := e.file("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: spec, namespace: default}\nspec: {containers: []}\n")
		if r := e.run("debug", "-f", manifest, "--image="+testenv.ImageBusybox, "--", "hostname"); r.code != 0 || r.stdout != "spec\n" {
			e.Errorf("-f names the pod: %s", r)
		}
		e.refused(e.run("debug", "spec", "-f", manifest, "--image="+testenv.ImageBusybox, "--", "true"), "two pods", "give one of them")
	})
}

// TestSpecRefused: all that the API would say, at once, and nothing is made.
func TestSpecRefused(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "refused"})
		bad := e.file("bad.yaml", `
name: app
image: ""
ports: [{containerPort: 80}]
resources: {limits: {cpu: 1}}
livenessProbe: {exec: {command: [x]}}
lifecycle: {preStop: {sleep: {seconds: 1}}}
restartPolicy: Always
targetContainerName: nobody
env: [{name: "a=b"}]
volumeMounts: [{name: data, mountPath: /x, subPath: sub}]
securityContext: {privileged: true, allowPrivilegeEscalation: false}
`)
		r := e.run("debug", p.Name, "-f", bad)
		const at = "spec.ephemeralContainers[0]."
		for _, want := range []string{
			`name: Duplicate value: "app"`, "image: Required value", "ports: Forbidden: cannot be set for an Ephemeral Container", "resources: Forbidden", "livenessProbe: Forbidden",
			"lifecycle: Forbidden", "restartPolicy: Forbidden", `targetContainerName: Not found: "nobody"`, `env[0].name: Invalid value: "a=b"`,
			"volumeMounts[0].subPath: Forbidden", "securityContext: Invalid value",
		} {
			if r.code != 125 || r.stdout != "" || !strings.Contains(r.stderr, at+want) {
				e.Errorf("%s does not say %q", r, at+want)
			}
		}
		e.refused(e.run("debug", p.Name, "-f", e.file("typo.yaml", "name: a\nimagee: x\nsecurityContext: {runAsUsr: 1}\n")), "misspelt", `unknown field "imagee"`)
		e.refused(e.run("debug", p.Name, "-f", e.file("type.yaml", "name: a\nimage: x\nargs: [1]\n")), "of a wrong type", "args[0]")
		e.refused(e.run("debug", p.Name, "-f", e.file("empty.yaml", "")), "empty", "empty.yaml")
		e.refused(e.run("debug", p.Name, "-f", filepath.Join(e.TempDir(), "none.yaml")), "no file", "no such file")
		e.refused(e.run("debug", p.Name, "--image=x", "--custom", e.file("custom.yaml", "image: other\n")), "custom image", "not modifiable via custom profile")
		e.refused(e.run("debug", p.Name, "--image=x", "-f", "-", "--creds-stdin"), "two readers", "standard input can be read for one of")
	})
}

// TestSpecRoundTrip: what --dry-run -o spec prints is the same container to -f.
func TestSpecRoundTrip(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "round"})
		custom := e.file("custom.json", `{"env":[{"name":"X","value":"1"}],"securityContext":{"capabilities":{"drop":["NET_RAW"]},"runAsUser":5}}`)
		flags := debug(p, "-q", "-c", "same", "--profile=netadmin", "--custom="+custom, "--env=Y=$(X)", "--dry-run")
		spec := e.run(append(flags, "-o", "spec", "--", "sh", "-c", "echo $X")...)
		if spec.code != 0 || !strings.Contains(spec.stdout, "- NET_ADMIN\n") || !strings.Contains(spec.stdout, "drop:\n    - NET_RAW\n") || !strings.Contains(spec.stdout, "runAsUser: 5\n") {
			e.Fatalf("%s", spec)
		}
		direct := e.run(append(flags, "--", "sh", "-c", "echo $X")...)
		again := e.run("debug", p.Name, "-q", "-f", e.file("again.yaml", spec.stdout), "--dry-run")
		// What is random goes.
		strip := func(text string) string {
			var lines []string
			for line := range strings.Lines(text) {
				if !strings.Contains(line, `"porthole.dev/`) && !strings.Contains(line, "/containers/same/") {
					lines = append(lines, line)
				}
			}
			return strings.Join(lines, "")
		}
		if direct.code != 0 || again.code != 0 || strip(direct.stdout) != strip(again.stdout) || !strings.Contains(direct.stdout, "NET_ADMIN") {
			e.Errorf("by flags: %s\nfrom the spec: %s", direct, again)
		}
	})
}

// TestUserAndCommand: what kubectl has no flag for.
func TestUserAndCommand(t *testing.T) {
	each(t, func(e *env) {
		p := e.pod(testenv.PodSpec{Name: "user"})
		for _, c := range []struct {
			flags []string
			want  string
		}{
			{[]string{"--user=1234", "--", "id", "-u"}, "1234\n"},
			{[]string{"--user=1234:77", "--", "id", "-g"}, "77\n"},
			{[]string{"--user=app", "--", "id", "-un"}, "app\n"},
			{[]string{"--workdir=/etc", "--", "pwd"}, "/etc\n"},
			{[]string{"--entrypoint=echo", "--", "a b", "c"}, "a b c\n"},
			{[]string{"--arguments-only", "--", "echo", "x"}, "x\n"},
		} {
			if r := e.run(debug(p, c.flags...)...); r.code != 0 || r.stdout != c.want {
				e.Errorf("%q: %s, want %q", c.flags, r, c.want)
			}
		}
		e.refused(e.run(debug(p, "--user=no:body", "--", "true")...), "user", `--user "no:body"`)
		e.refused(e.run(debug(p, "--workdir=/proc/self/fd", "--", "true")...), "workdir", "workingDir")
		e.refused(e.run(debug(p, "--as-target", "--profile=general", "--", "true")...), "as-target", "--as-target")
	})
}

// inspectYAML is what porthole inspect prints.
func (e *env) inspectYAML(name string) string {
	e.Helper()
	r := e.run("inspect", name)
	if r.code != 0 {
		e.Fatal(r)
	}
	return r.stdout
}
