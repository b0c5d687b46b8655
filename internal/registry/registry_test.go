package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"sigs.k8s.io/yaml"
)

// hush is in every secret of these tests, and must be in nothing that is shown.
const hush = "s3cr3t"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), mode))
	must(t, os.Chmod(path, mode))
	return path
}

func auth(text string) string {
	return fmt.Sprintf(`{"auth":%q}`, base64.StdEncoding.EncodeToString([]byte(text)))
}

// users lists the accounts in their order.
func users(credentials []Credential) string {
	var all []string
	for _, c := range credentials {
		all = append(all, c.Username())
	}
	return strings.Join(all, " ")
}

func silent(t *testing.T, what string, shown any) {
	t.Helper()
	if strings.Contains(fmt.Sprint(shown), hush) {
		t.Errorf("%s shows a secret: %v", what, shown)
	}
}

func TestParseImage(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0", 64)
	for in, want := range map[string]string{
		"busybox": "docker.io/library/busybox", "busybox:1.36": "docker.io/library/busybox", "a/b:1" + digest: "docker.io/a/b",
		"quay.io/a/b" + digest: "quay.io/a/b", "localhost:5000/a:1": "localhost:5000/a", "localhost/a": "localhost/a",
		"index.docker.io/a": "docker.io/library/a", "docker.io/a/b": "docker.io/a/b", "UPPER/a": "UPPER/a", "r.io:443/a/b/c": "r.io:443/a/b/c",
		"": "", "/": "", "quay.io/": "", "quay.io/A": "", "a b": "", "quay.io/a?b": "", "https://quay.io/a": "",
	} {
		got, err := ParseImage(in)
		if want == "" {
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("%q: %s, %v", in, got, err)
			}
		} else if err != nil || got.String() != want {
			t.Errorf("%q: %s, %v, want %s", in, got, err, want)
		}
	}
}

// TestMatches has the examples of kubelet's keyring.go and of the API of
// credential providers.
func TestMatches(t *testing.T) {
	for _, tc := range []struct {
		pattern, image string
		want           bool
	}{
		{"quay.io", "quay.io/a/b", true},
		{"quay.io/a", "quay.io/a/b", true},
		{"quay.io/a", "quay.io/ab/c", true}, // a prefix of the text, as kubelet has it
		{"quay.io/b", "quay.io/a/b", false},
		{"quay.io:443", "quay.io/a", false},
		{"r.io:8080/p", "r.io:8080/p/a", true},
		{"r.io", "r.io:8080/a", false},
		{"*.azurecr.io", "x.azurecr.io/a", true},
		{"*.azurecr.io", "azurecr.io/a", false},
		{"*.io", "x.azurecr.io/a", false},
		{"app*.k8s.io", "app1.k8s.io/a", true},
		{"*.*.r.io", "a.b.r.io/a", true},
		{"k8s.*", "k8s.io/a", true},
		{"*", "quay.io/a", false},
		{"[", "quay.io/a", false},
		{"docker.io", "busybox", true},
	} {
		image, err := ParseImage(tc.image)
		must(t, err)
		if got := matchesAny([]string{tc.pattern}, image); got != tc.want {
			t.Errorf("%s for %s: %v", tc.pattern, tc.image, got)
		}
	}
}

func TestLookupOrder(t *testing.T) {
	text := `{"auths":{"quay.io":` + auth("host:"+hush) + `,"quay.io/team":` + auth("team:"+hush) + `,"https://quay.io/v2/":` + auth("v2:"+hush) +
		`,"*.io":` + auth("glob:"+hush) + `,"https://index.docker.io/v1/":` + auth("hub:"+hush) + `,"other.io":{}}}`
	source, err := FromJSON("test", []byte(text))
	must(t, err)
	for image, want := range map[string]string{
		"quay.io/team/a": "team v2 host glob",
		"quay.io/a":      "v2 host glob",
		"k8s.io/a":       "glob",
		"busybox":        "glob",
		"a.b.io/x":       "",
		"localhost/x":    "",
	} {
		got, notices, err := Lookup(t.Context(), image, nil, source)
		if users(got) != want || err != nil || len(notices) != 0 {
			t.Errorf("%s: %s, %v, %v, want %s", image, users(got), notices, err, want)
		}
	}
	hub, err := FromJSON("test", []byte(`{"https://index.docker.io/v1/":`+auth("hub:"+hush)+`}`))
	must(t, err)
	if got, _, _ := Lookup(t.Context(), "busybox", hub); users(got) != "hub" {
		t.Errorf("Docker's registry: %s", users(got))
	}
	given, err := FromLine("me:pass:" + hush + "\n")
	must(t, err)
	got, _, _ := Lookup(t.Context(), "quay.io/a", given, source)
	if users(got) != "me v2 host glob" || got[0].Password() != "pass:"+hush {
		t.Errorf("with a line: %s", users(got))
	}
	if _, _, err := Lookup(t.Context(), "no image", source); !errdefs.IsInvalidArgument(err) {
		t.Error(err)
	}
}

func TestParseConfig(t *testing.T) {
	token := `{"auths":{"r.io":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("<token>:")) + `","identitytoken":"i-` + hush + `","registrytoken":"r-` + hush + `"}}}`
	for name, tc := range map[string]struct {
		text string
		want secret
		err  error
	}{
		"auth":           {`{"auths":{"r.io":` + auth("u:"+hush) + `}}`, secret{username: "u", password: hush}, nil},
		"without =":      {`{"auths":{"r.io":{"auth":"` + base64.RawStdEncoding.EncodeToString([]byte("u:"+hush+"1")) + `"}}}`, secret{username: "u", password: hush + "1"}, nil},
		"two fields":     {`{"auths":{"r.io":{"username":"u","password":"` + hush + `"}}}`, secret{username: "u", password: hush}, nil},
		"auth wins":      {`{"auths":{"r.io":{"username":"x","password":"y","auth":"` + base64.StdEncoding.EncodeToString([]byte("u:"+hush)) + `"}}}`, secret{username: "u", password: hush}, nil},
		"tokens":         {token, secret{"<token>", "", "i-" + hush, "r-" + hush}, nil},
		"dockercfg":      {`{"r.io":` + auth("u:"+hush) + `}`, secret{username: "u", password: hush}, nil},
		"none":           {`{"auths":{}}`, secret{}, nil},
		"null":           {`{"auths":null}`, secret{}, nil},
		"empty":          {`{}`, secret{}, nil},
		"helper's trace": {`{"auths":{"r.io":{}},"credsStore":"x"}`, secret{}, nil},
		"no JSON":        {hush, secret{}, errNotJSON},
		"no object":      {`["` + hush + `"]`, secret{}, errNotJSON},
		"wrong kind":     {`{"auths":{"r.io":"` + hush + `"}}`, secret{}, errNotJSON},
		"wrong kind 2":   {`{"r.io":"` + hush + `"}`, secret{}, errNotJSON},
		"wrong kind 3":   {`{"auths":{"r.io":{"auth":["` + hush + `"]}}}`, secret{}, errNotJSON},
		"no base64":      {`{"auths":{"r.io":{"auth":"!` + hush + `"}}}`, secret{}, errBadAuth},
		"no colon":       {`{"auths":{"r.io":` + auth(hush) + `}}`, secret{}, errBadAuth},
	} {
		t.Run(name, func(t *testing.T) {
			source, err := FromJSON("here", []byte(tc.text))
			if tc.err != nil {
				if !errors.Is(err, tc.err) || !errdefs.IsInvalidArgument(err) {
					t.Errorf("got %v, want %v", err, tc.err)
				}
				silent(t, "error", err)
				return
			}
			must(t, err)
			got, _, _ := Lookup(t.Context(), "r.io/a", source)
			if tc.want == (secret{}) {
				if len(got) != 0 && name != "helper's trace" {
					t.Errorf("got %v", got)
				}
				return
			}
			c := got[0]
			if len(got) != 1 || (secret{c.Username(), c.Password(), c.IdentityToken(), c.RegistryToken()}) != tc.want || c.From != "here" {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestFromFile(t *testing.T) {
	dir := t.TempDir()
	good := `{"auths":{"r.io":` + auth("u:"+hush) + `}}`
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	for name, tc := range map[string]struct {
		path  string
		class error
		text  string
	}{
		"good":      {write(t, filepath.Join(dir, "good"), good, 0o600), nil, ""},
		"readable":  {write(t, filepath.Join(dir, "readable"), good, 0o640), nil, "others than its owner can read it (mode 0640)"},
		"none":      {filepath.Join(dir, "none"), errdefs.ErrNotFound, "none"},
		"directory": {dir, errdefs.ErrInvalidArgument, "not a regular file"},
		"fifo":      {filepath.Join(dir, "fifo"), errdefs.ErrInvalidArgument, "not a regular file"},
		"too large": {write(t, filepath.Join(dir, "large"), strings.Repeat(" ", fileLimit+1), 0o600), errdefs.ErrInvalidArgument, "more than"},
		"malformed": {write(t, filepath.Join(dir, "bad"), `{"auths":"`+hush, 0o600), errdefs.ErrInvalidArgument, filepath.Join(dir, "bad")},
	} {
		t.Run(name, func(t *testing.T) {
			source, err := FromFile(tc.path)
			if tc.class != nil {
				if !errors.Is(err, tc.class) || !strings.Contains(err.Error(), tc.text) {
					t.Errorf("got %v, want %v with %q", err, tc.class, tc.text)
				}
				silent(t, "error", err)
				return
			}
			must(t, err)
			got, notices, _ := Lookup(t.Context(), "r.io/a", source)
			if users(got) != "u" || (len(notices) > 0) != (tc.text != "") || !strings.Contains(fmt.Sprint(notices), tc.text) {
				t.Errorf("got %v, %v", got, notices)
			}
		})
	}
}

func TestFromLine(t *testing.T) {
	for _, bad := range []string{"", hush, ":" + hush, "u:" + hush + "\nx", "u:\x00" + hush} {
		_, err := FromLine(bad)
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v", bad, err)
		}
		silent(t, "error", err)
	}
	source, err := FromLine("u:" + hush + "\r\n")
	must(t, err)
	if got, _ := source.Credentials(t.Context(), Image{}); got[0].Password() != hush {
		t.Errorf("got %q", got[0].Password())
	}
}

// TestFromUser: DOCKER_CONFIG, then the home directory; nothing is no error.
func TestFromUser(t *testing.T) {
	home, other := t.TempDir(), t.TempDir()
	write(t, filepath.Join(home, ".docker/config.json"), `{"auths":{"r.io":`+auth("home:"+hush)+`}}`, 0o600)
	write(t, filepath.Join(other, "config.json"), `{"auths":{"r.io":`+auth("other:"+hush)+`}}`, 0o600)
	for _, tc := range []struct{ home, config, want string }{{home, other, "other"}, {home, "", "home"}, {other, "", ""}, {"", "", ""}} {
		got, notices, _ := Lookup(t.Context(), "r.io/a", FromUser(tc.home, tc.config))
		if users(got) != tc.want || len(notices) != 0 {
			t.Errorf("%+v: %v, %v", tc, got, notices)
		}
	}
	write(t, filepath.Join(other, "config.json"), hush, 0o600)
	_, notices, _ := Lookup(t.Context(), "r.io/a", FromUser("", other))
	if len(notices) != 1 || !errdefs.IsInvalidArgument(notices[0].Err) {
		t.Errorf("malformed: %v", notices)
	}
	silent(t, "notice", notices)
}

// TestNothingIsShown prints a credential in every way that comes to mind, by
// itself and inside of other things.
func TestNothingIsShown(t *testing.T) {
	c := credential("a file", secret{hush, hush, hush, hush})
	source, err := FromJSON("x", []byte(`{"auths":{"r.io":`+auth("u:"+hush)+`},"credsStore":"x"}`))
	must(t, err)
	given, err := FromLine("u:" + hush)
	must(t, err)
	nested := struct {
		Public  Credential
		private Credential
		list    []Credential
		pointer *Credential
		any     any
	}{c, c, []Credential{c}, &c, c}
	for _, value := range []any{c, &c, []Credential{c}, map[string]Credential{"a": c}, nested, &nested, source, given, []Source{source, given}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%T"} {
			silent(t, verb, fmt.Sprintf(verb, value))
		}
		if text, err := json.Marshal(value); err == nil {
			silent(t, "JSON", string(text))
		}
		if text, err := yaml.Marshal(value); err == nil {
			silent(t, "YAML", string(text))
		}
		for _, handler := range []func(*bytes.Buffer) slog.Handler{
			func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(handler(&b)).InfoContext(context.Background(), "x", "value", value)
			silent(t, "slog", b.String())
		}
	}
	if c.String() != "credential from a file" || fmt.Sprintf("%d", c) != c.String() || c.GoString() != c.String() {
		t.Errorf("got %q", c.String())
	}
	if text, err := json.Marshal(c); err != nil || string(text) != `{"from":"a file"}` {
		t.Errorf("JSON: %s, %v", text, err)
	}
	if (Credential{}).Password() != "" {
		t.Error("an empty credential has a password")
	}
}
