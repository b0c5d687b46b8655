package runtime

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestParseRef(t *testing.T) {
	id := strings.Repeat("0a", 32)
	for _, c := range []struct {
		text, namespace string
		want            Ref
	}{
		{"web", "", Ref{Name: "web"}},
		{"web", "prod", Ref{Namespace: "prod", Name: "web"}},
		{"web.example-1", "", Ref{Name: "web.example-1"}},
		{"pod/web", "", Ref{Name: "web"}},
		{"pods/web", "", Ref{Name: "web"}},
		{"po/web", "prod", Ref{Namespace: "prod", Name: "web"}},
		{"prod/web", "", Ref{Namespace: "prod", Name: "web"}},
		{"prod/web", "prod", Ref{Namespace: "prod", Name: "web"}},
		{"0a1b", "", Ref{Name: "0a1b", ID: "0a1b"}},
		{"beef", "prod", Ref{Namespace: "prod", Name: "beef", ID: "beef"}},
		{id, "", Ref{Name: id, ID: id}},
		{"bee", "", Ref{Name: "bee"}},                                                     // too short for an ID
		{"pod/beef", "", Ref{Name: "beef"}},                                               // says that it is a name
		{"prod/beef", "", Ref{Namespace: "prod", Name: "beef"}},                           // and so does this
		{id + "0", "", Ref{Name: id + "0"}},                                               // too long for an ID
		{strings.Repeat("a.", 126) + "a", "", Ref{Name: strings.Repeat("a.", 126) + "a"}}, // 253
	} {
		got, err := ParseRef(c.text, c.namespace)
		if err != nil || got != c.want {
			t.Errorf("ParseRef(%q, %q) = %+v, %v; want %+v", c.text, c.namespace, got, err, c.want)
		}
	}
}

func TestParseRefRefuses(t *testing.T) {
	for _, c := range []struct{ text, namespace, says string }{
		{"", "", "no pod is named"},
		{"pod/", "", "no pod is named"},
		{"prod/", "", "no pod is named"},
		{"Web", "", `pod name "Web"`},
		{"web_1", "", `pod name "web_1"`},
		{"-web", "", "is not valid"},
		{"web-", "", "is not valid"},
		{"web..a", "", "is not valid"},
		{"../etc", "", `namespace ".."`},
		{"pod/a/b", "", `pod name "a/b"`},
		{"a/b/c", "", `pod name "b/c"`},
		{"we\x1bb", "", `pod name "we\x1bb"`},
		{strings.Repeat("a", 254), "", "is not valid"},
		{"Prod/web", "", `namespace "Prod"`},
		{"a.b/web", "", `namespace "a.b"`},
		{strings.Repeat("n", 64) + "/web", "", "is not a valid name"},
		{"web", "Prod", `namespace "Prod"`},
		{"web", strings.Repeat("n", 64), "is not a valid name"},
		{"prod/web", "test", "-n says test"},
	} {
		ref, err := ParseRef(c.text, c.namespace)
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("ParseRef(%q, %q) = %+v, %v; want one that says %q", c.text, c.namespace, ref, err, c.says)
		}
	}
	for _, text := range []string{"node/a", "nodes/a", "no/a"} {
		if _, err := ParseRef(text, ""); !errdefs.IsNotImplemented(err) {
			t.Errorf("ParseRef(%q): %v; debugging a node is reserved", text, err)
		}
	}
}

func TestRefString(t *testing.T) {
	if got := (Ref{Name: "web"}).String(); got != "web" {
		t.Error(got)
	}
	if got := (Ref{Namespace: "prod", Name: "web"}).String(); got != "prod/web" {
		t.Error(got)
	}
}

// FuzzParseRef: what is accepted names a pod as the API would, and its own text
// leads back to the same pod.
func FuzzParseRef(f *testing.F) {
	for _, seed := range []string{"web", "pod/web", "prod/web", "0a1b", "node/x", "a/b/c", "..", ""} {
		f.Add(seed, "")
		f.Add(seed, "prod")
	}
	f.Fuzz(func(t *testing.T, text, namespace string) {
		ref, err := ParseRef(text, namespace)
		if err != nil {
			return
		}
		if !subdomain.MatchString(ref.Name) || ref.Namespace != "" && !label.MatchString(ref.Namespace) {
			t.Fatalf("accepted %+v", ref)
		}
		if ref.ID != "" && ref.ID != ref.Name {
			t.Fatalf("the ID is not what was typed: %+v", ref)
		}
		if namespace != "" && ref.Namespace != namespace {
			t.Fatalf("-n %q became %q", namespace, ref.Namespace)
		}
	})
}
