package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"sigs.k8s.io/yaml"

	"github.com/porthole-project/porthole/internal/agent"
	"github.com/porthole-project/porthole/runtime"
)

// hostileNames are what a pod's author could put into labels, annotations, image
// references and names of containers.
var hostileNames = []string{
	"\x1b[31mred\x1b]52;c;cm0gLXJmIC8K\x07", "a\nb\tc\rd", "\u009b2J", "\u202egnp.exe", "zero\u200bwidth", "\x00\x01\x7f\xff\xfe",
	"emoji 🐳", "quote \" \\ ' : # - {}", "\u2028\u2029\ufeff", "yes", "0x1f", "",
}

func hostileList() (table, list) {
	t := table{header: []string{"NAME", "STATE", "LABELS"}, wide: 2}
	var pods []podView
	for _, name := range hostileNames {
		pods = append(pods, viewPod(runtime.Pod{
			ID: "0123456789abcdef", Namespace: name, Name: name, UID: name, State: runtime.Ready, Labels: map[string]string{name: name},
		}, []runtime.Container{{PodID: "0123456789abcdef", Name: name, Image: name, ID: name}}, name))
		t.names = append(t.names, "pod/"+name)
		t.rows = append(t.rows, []string{name, name, name})
	}
	return t, list{apiVersion, "PodList", pods}
}

func TestPrintListIsHarmless(t *testing.T) {
	rows, doc := hostileList()
	for _, format := range []string{"table", "wide", "json", "yaml", "name"} {
		var out bytes.Buffer
		if err := printList(&out, format, rows, doc); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		checkHarmless(t, format, out.String())
		if !strings.HasSuffix(out.String(), "\n") || strings.HasSuffix(out.String(), "\n\n") {
			t.Errorf("%s does not end in one newline: %q", format, out.String())
		}
		lines := strings.Count(out.String(), "\n")
		if want := map[string]int{"table": len(hostileNames) + 1, "wide": len(hostileNames) + 1, "name": len(hostileNames)}[format]; want > 0 && lines != want {
			t.Errorf("%s: %d lines, want %d: one a row", format, lines, want)
		}
	}
	if err := printList(&bytes.Buffer{}, "xml", rows, doc); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), `"xml"`) {
		t.Error(err)
	}
}

// What is escaped in a document means what it was.
func TestPrintListKeepsNames(t *testing.T) {
	rows, doc := hostileList()
	var out bytes.Buffer
	if err := printList(&out, "json", rows, doc); err != nil {
		t.Fatal(err)
	}
	var got struct {
		APIVersion, Kind string
		Items            []podView
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.APIVersion != apiVersion || got.Kind != "PodList" || len(got.Items) != len(hostileNames) {
		t.Errorf("%+v", got)
	}
	for i, name := range hostileNames {
		if want := strings.ToValidUTF8(name, "\ufffd"); got.Items[i].Name != want && !strings.Contains(name, "\xff") {
			t.Errorf("%q became %q", name, got.Items[i].Name)
		}
	}
	out.Reset()
	if err := printList(&out, "yaml", rows, doc); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in:\n%s", err, out.String())
	}
	for i, name := range hostileNames {
		if plain := strings.HasPrefix(name, "quote") || name == "yes" || name == "0x1f" || name == ""; plain && got.Items[i].Name != name {
			t.Errorf("yaml: %q became %q", name, got.Items[i].Name)
		}
	}
}

func TestPrintListOfNothing(t *testing.T) {
	for format, want := range map[string]string{"table": "", "wide": "", "name": "", "json": "{\n  \"apiVersion\": \"" + apiVersion + "\",\n  \"kind\": \"PodList\",\n  \"items\": []\n}\n"} {
		var out bytes.Buffer
		if err := printList(&out, format, table{header: []string{"A"}, wide: 1}, list{apiVersion, "PodList", []podView{}}); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v; want %q", format, out.String(), err, want)
		}
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	rows := table{header: []string{"NAME", "AGE", "ID"}, wide: 2, rows: [][]string{{"web", "", "1"}, {"long-name", "5s", "2"}}}
	if err := rows.print(&out, false); err != nil {
		t.Fatal(err)
	}
	if want := "NAME        AGE\nweb         -\nlong-name   5s\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestAge(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", 119 * time.Second: "119s", 2 * time.Minute: "2m", 119 * time.Minute: "119m",
		2 * time.Hour: "2h", 47 * time.Hour: "47h", 48 * time.Hour: "2d", 1000 * time.Hour: "41d", -time.Second: "-",
	} {
		if got := age(now.Add(-d), now); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	if got := age(time.Time{}, now); got != "-" {
		t.Errorf("never: %s", got)
	}
}

func TestViewSession(t *testing.T) {
	now := time.Now()
	s := agent.Session{Info: runtime.Info{
		Container: runtime.Container{ID: "0123456789abcdef", Name: "porthole-x", State: runtime.Exited, Created: now.Add(-time.Hour)},
		Pod:       runtime.Pod{Namespace: "prod", Name: "web"},
		Mark:      runtime.Mark{Session: "abc", Owner: "jane", Target: "app", Expires: now.Add(5*time.Minute + time.Second)},
		Exit:      &runtime.Exit{Code: 3, Reason: "Error"},
	}, Verification: "verified: net"}
	want := "abc prod/web app exited(3) 60m in 5m jane porthole-x  0123456789abc verified: net"
	if got := strings.Join(viewSession(s).row(now), " "); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s.Exit, s.State, s.Mark.Expires = nil, runtime.Running, now.Add(-time.Second)
	if row := viewSession(s).row(now); row[3] != "running" || row[5] != "expired" {
		t.Errorf("%q", row)
	}
}

// TestToYAML: the YAML of a request says what its JSON says, whatever is in it.
func TestToYAML(t *testing.T) {
	want := map[string]any{"env": "<&>\u2028\"'", "command": "echo '$$' > /tmp/\"x\"", "name": "a\x7f\u0085\u202eb", "none": ""}
	doc, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	text, err := toYAML(doc)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := yaml.Unmarshal(text, &got); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v: %q became\n%s", err, doc, text)
	}
}
