package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

// script writes a program of the shell.
func script(t *testing.T, path, text string) string {
	t.Helper()
	return write(t, path, "#!/bin/sh\n"+text, 0o755)
}

func providers(entries ...string) string {
	return "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n" + strings.Join(entries, "")
}

func providerNamed(name, more string) string {
	return "- name: " + name + "\n  matchImages: ['*.r.io', other.io]\n  defaultCacheDuration: 1h\n  apiVersion: credentialprovider.kubelet.k8s.io/v1\n" + more
}

// answer is what a plugin says that knows one account.
func answer(registry, user string) string {
	return fmt.Sprintf(`{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse","cacheKeyType":"Image","auth":{%q:{"username":%q,"password":%q}}}`,
		registry, user, hush)
}

// TestProviders: the plugin gets what kubelet gives it, and its answer is
// matched with the node's configuration before it.
func TestProviders(t *testing.T) {
	dir := t.TempDir()
	bin, seen := filepath.Join(dir, "bin"), filepath.Join(dir, "seen")
	config := write(t, filepath.Join(dir, "providers.yaml"), providers(
		providerNamed("one", "  args: [get, --x]\n  env: [{name: SEEN, value: "+seen+"}]\n"),
		providerNamed("two", ""),
		providerNamed("never", "  tokenAttributes: {serviceAccountTokenAudience: a, cacheType: Token, requireServiceAccount: true}\n"),
		strings.Replace(providerNamed("elsewhere", ""), "*.r.io", "x.io", 1)), 0o644)
	script(t, filepath.Join(bin, "one"), `{ printf '%s\n' "$0" "$@"; cat; } >"$SEEN"; echo '`+answer("*.r.io", "one")+"'\n")
	script(t, filepath.Join(bin, "two"), "echo '"+answer("a.r.io/team", "two")+"'\n")
	root := filepath.Join(dir, "root")
	write(t, filepath.Join(root, "config.json"), `{"auths":{"a.r.io":`+auth("node:"+hush)+`}}`, 0o600)
	source := FromKubelet(Kubelet{Root: root, ProviderConfig: config, ProviderBin: bin})

	got, notices, err := Lookup(t.Context(), "a.r.io/team/app:1", source)
	if users(got) != "node two one" || err != nil {
		t.Errorf("got %s, %v", users(got), err)
	}
	if len(notices) != 1 || notices[0].From != "credential provider never" || !errdefs.IsNotImplemented(notices[0].Err) {
		t.Errorf("notices: %v", notices)
	}
	text, err := os.ReadFile(seen)
	must(t, err)
	want := filepath.Join(bin, "one") + "\nget\n--x\n" +
		`{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"a.r.io/team/app","kind":"CredentialProviderRequest"}` + "\n"
	if string(text) != want {
		t.Errorf("the plugin saw\n%swant\n%s", text, want)
	}
	if got, notices, _ := Lookup(t.Context(), "z.io/a", source); len(got) != 0 || len(notices) != 0 {
		t.Errorf("an image that no plugin is for: %v, %v", got, notices)
	}
	// Not all that is known of the node.
	_, notices, _ = Lookup(t.Context(), "a.r.io/a", FromKubelet(Kubelet{ProviderBin: bin}))
	if len(notices) != 1 {
		t.Errorf("without a configuration: %v", notices)
	}
}

func TestProviderAnswers(t *testing.T) {
	good := answer("a.r.io", "u")
	for name, tc := range map[string]struct {
		script, more string
		class        error
		text         string
	}{
		"good":              {"echo '" + good + "'", "", nil, ""},
		"nothing for it":    {"echo '" + strings.Replace(good, `"a.r.io"`, `"b.r.io"`, 1) + "'", "", nil, "nobody"},
		"no token needed":   {"echo '" + good + "'", "  tokenAttributes: {serviceAccountTokenAudience: a, cacheType: Token, requireServiceAccount: false}\n", nil, ""},
		"garbage":           {"echo " + hush, "", errdefs.ErrDataLoss, "did not answer with a CredentialProviderResponse"},
		"other version":     {"echo '" + strings.Replace(good, "k8s.io/v1", "k8s.io/v1beta1", 1) + "'", "", errdefs.ErrDataLoss, "did not answer"},
		"other kind":        {"echo '" + strings.Replace(good, "Response", "Request", 1) + "'", "", errdefs.ErrDataLoss, "did not answer"},
		"no cache key type": {"echo '" + strings.Replace(good, "Image", "x", 1) + "'", "", errdefs.ErrDataLoss, "did not answer"},
		"fails":             {"echo " + hush + "; echo " + hush + " >&2; exit 3", "", errdefs.ErrUnavailable, "exit status 3"},
		"never stops":       {"while :; do echo '" + strings.Repeat(hush, 1000) + "'; done", "", errdefs.ErrUnavailable, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			config := write(t, filepath.Join(dir, "c.json"), providers(providerNamed("plugin", tc.more)), 0o600)
			script(t, filepath.Join(dir, "bin/plugin"), tc.script+"\n")
			got, notices, err := Lookup(t.Context(), "a.r.io/a", FromKubelet(Kubelet{ProviderConfig: config, ProviderBin: filepath.Join(dir, "bin")}))
			must(t, err)
			silent(t, "notice", notices)
			switch {
			case tc.class != nil:
				if len(notices) != 1 || !errors.Is(notices[0].Err, tc.class) || !strings.Contains(notices[0].String(), tc.text) {
					t.Errorf("got %v, want %v with %q", notices, tc.class, tc.text)
				}
			case len(notices) != 0 || (users(got) == "u") != (tc.text == ""):
				t.Errorf("got %v, %v", got, notices)
			}
		})
	}
}

func TestProviderConfig(t *testing.T) {
	valid := providerNamed("p", "")
	for name, tc := range map[string]struct {
		text string
		ok   bool
	}{
		"valid":          {providers(valid), true},
		"v1beta1":        {strings.Replace(providers(valid), "k8s.io/v1\n", "k8s.io/v1beta1\n", 1), true},
		"JSON":           {`{"apiVersion":"kubelet.config.k8s.io/v1","kind":"CredentialProviderConfig","providers":[{"name":"p","matchImages":["a"],"defaultCacheDuration":"0s","apiVersion":"credentialprovider.kubelet.k8s.io/v1alpha1"}]}`, true},
		"v2":             {strings.Replace(providers(valid), "k8s.io/v1\n", "k8s.io/v2\n", 1), false},
		"other kind":     {strings.Replace(providers(valid), "CredentialProviderConfig", "KubeletConfiguration", 1), false},
		"no providers":   {providers(), false},
		"unknown field":  {providers(valid, "  password: "+hush+"\n"), false},
		"twice":          {providers(valid, valid), false},
		"a path":         {providers(strings.Replace(valid, "name: p", "name: ../p", 1)), false},
		"a space":        {providers(strings.Replace(valid, "name: p", "name: p "+"x", 1)), false},
		"dots":           {providers(strings.Replace(valid, "name: p", "name: ..", 1)), false},
		"no name":        {providers(strings.Replace(valid, "name: p", "name: ''", 1)), false},
		"no images":      {providers(strings.Replace(valid, "['*.r.io', other.io]", "[]", 1)), false},
		"bad image":      {providers(strings.Replace(valid, "other.io", "'a b'", 1)), false},
		"no duration":    {providers(strings.Replace(valid, "  defaultCacheDuration: 1h\n", "", 1)), false},
		"bad duration":   {providers(strings.Replace(valid, "1h", "-1h", 1)), false},
		"plugin's API":   {providers(strings.Replace(valid, "credentialprovider.kubelet.k8s.io/v1", "v1", 1)), false},
		"wrong type":     {providers(valid + "  env: [{name: A, value: {" + hush + ": 1}}]\n"), false},
		"not YAML":       {"[" + hush, false},
		"not an object":  {hush, false},
		"empty document": {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "c"), tc.text, 0o600)
			got, err := readProviders(path)
			if tc.ok && (err != nil || len(got) != 1) || !tc.ok && !errdefs.IsInvalidArgument(err) {
				t.Errorf("got %+v, %v", got, err)
			}
			silent(t, "error", err)
		})
	}
}

func TestProviderDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d") // t.TempDir itself is as the umask has it
	write(t, filepath.Join(dir, "20.yml"), providers(providerNamed("b", "")), 0o600)
	write(t, filepath.Join(dir, "10.yaml"), providers(providerNamed("a", "")), 0o600)
	write(t, filepath.Join(dir, "30.txt"), "x", 0o600)
	write(t, filepath.Join(dir, "d.json/x.json"), "x", 0o600)
	got, err := readProviders(dir)
	if err != nil || len(got) != 2 || got[0].Name != "a" || got[1].Name != "b" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := readProviders(filepath.Join(dir, "none")); !errdefs.IsNotFound(err) {
		t.Errorf("none: %v", err)
	}
	if _, err := readProviders(filepath.Join(dir, "d.json/..", "d.json")); err == nil {
		t.Error("a malformed file is a configuration")
	}
}

// TestTrust: what others can write is neither run nor followed.
func TestTrust(t *testing.T) {
	dir := t.TempDir()
	plugin := script(t, filepath.Join(dir, "bin/p"), "echo '"+answer("a.r.io", "u")+"'\n")
	config := write(t, filepath.Join(dir, "etc/c.yaml"), providers(providerNamed("p", "")), 0o644)
	k := Kubelet{ProviderConfig: config, ProviderBin: filepath.Dir(plugin)}
	for name, tc := range map[string]struct {
		path     string
		bad, was os.FileMode
		in       string
	}{
		"plugin":             {plugin, 0o775, 0o755, "can be written by others"},
		"its directory":      {filepath.Dir(plugin), 0o757, 0o755, "can be written by others"},
		"configuration":      {config, 0o666, 0o644, "can be written by others"},
		"not executable":     {plugin, 0o644, 0o755, "not executable"},
		"configuration's":    {filepath.Dir(config), 0o775, 0o755, "can be written by others"},
		"all is well at end": {plugin, 0o755, 0o755, ""},
	} {
		must(t, os.Chmod(tc.path, tc.bad))
		asked := k
		if name == "configuration's" {
			asked.ProviderConfig = filepath.Dir(config)
		}
		got, notices, _ := Lookup(t.Context(), "a.r.io/a", FromKubelet(asked))
		must(t, os.Chmod(tc.path, tc.was))
		switch {
		case tc.in == "" && (users(got) != "u" || len(notices) != 0):
			t.Errorf("%s: %v, %v", name, got, notices)
		case tc.in != "" && (len(got) != 0 || len(notices) != 1 || !errdefs.IsPermissionDenied(notices[0].Err) || !strings.Contains(notices[0].String(), tc.in)):
			t.Errorf("%s: %v, %v", name, got, notices)
		}
	}
	if os.Getuid() == 0 {
		must(t, os.Chown(plugin, 4711, 0))
		_, notices, _ := Lookup(t.Context(), "a.r.io/a", FromKubelet(k))
		if len(notices) != 1 || !strings.Contains(notices[0].String(), "belongs to user 4711") {
			t.Errorf("another's plugin: %v", notices)
		}
	}
	// A link is followed, and what it leads to is what counts.
	open := script(t, filepath.Join(dir, "open/p"), "exit 0\n")
	must(t, os.Chmod(filepath.Dir(open), 0o777))
	must(t, os.Remove(plugin))
	must(t, os.Symlink(open, plugin))
	if _, notices, _ := Lookup(t.Context(), "a.r.io/a", FromKubelet(k)); len(notices) != 1 || !errdefs.IsPermissionDenied(notices[0].Err) {
		t.Errorf("a link out: %v", notices)
	}
}

// TestRunEnds: a program that hangs goes, with all that it started.
func TestRunEnds(t *testing.T) {
	dir := t.TempDir()
	child := filepath.Join(dir, "child")
	path := script(t, filepath.Join(dir, "p"), "sleep 60 & echo $! >"+child+"; sleep 60\n")
	began := time.Now()
	if _, err := (program{path: path, name: path, wait: 500 * time.Millisecond}).run(t.Context(), nil); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "within 500ms") {
		t.Error(err)
	}
	pid, err := os.ReadFile(child)
	must(t, err)
	for runs(strings.TrimSpace(string(pid))) {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("its child %s still runs", pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (program{path: path, name: path}).run(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

// runs reports whether a process is there and no zombie.
func runs(pid string) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	_, state, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(state, "Z")
}

// TestKubeletSearch: the places in their order, one file alone.
func TestKubeletSearch(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	config := func(user string) string { return `{"auths":{"r.io":` + auth(user+":"+hush) + `}}` }
	files := []struct{ path, text, user string }{
		{at("root/config.json"), config("root"), "root"},
		{at("cwd/config.json"), config("cwd"), "cwd"},
		{at("home/.docker/config.json"), config("home"), "home"},
		{at("slash/.docker/config.json"), config("slash"), "slash"},
		{at("root/.dockercfg"), `{"r.io":` + auth("cfg:"+hush) + `}`, "cfg"},
		{at("cwd/.dockercfg"), `{"r.io":` + auth("cwdcfg:"+hush) + `}`, "cwdcfg"},
	}
	for _, f := range files {
		write(t, f.path, f.text, 0o600)
	}
	k := kubelet{Kubelet{Root: at("root"), WorkingDir: at("cwd"), Home: at("home")}, at("slash")}
	for _, f := range files {
		got, notices, _ := Lookup(t.Context(), "r.io/a", k)
		if users(got) != f.user || len(notices) != 0 {
			t.Errorf("got %s, %v, want %s", users(got), notices, f.user)
		}
		must(t, os.Remove(f.path))
	}
	// One without anything for the image is still the one; a malformed one is not.
	write(t, at("root/config.json"), hush, 0o600)
	write(t, at("cwd/config.json"), `{}`, 0o600)
	write(t, at("home/.docker/config.json"), config("home"), 0o600)
	got, notices, _ := Lookup(t.Context(), "r.io/a", k)
	if len(got) != 0 || len(notices) != 1 || notices[0].From != at("root/config.json") {
		t.Errorf("got %v, %v", got, notices)
	}
	silent(t, "notice", notices)
}

// TestHelpers: docker-credential-NAME holds what the file does not.
func TestHelpers(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	script(t, filepath.Join(bin, "docker-credential-echo"), `read -r server; echo "{\"ServerURL\":\"$server\",\"Username\":\"$1 $server\",\"Secret\":\"`+hush+`\"}"`)
	script(t, filepath.Join(bin, "docker-credential-token"), `echo '{"Username":"<token>","Secret":"`+hush+`"}'`)
	script(t, filepath.Join(bin, "docker-credential-none"), "echo credentials not found in native keychain; exit 1")
	script(t, filepath.Join(bin, "docker-credential-fails"), "echo "+hush+"; exit 1")
	script(t, filepath.Join(bin, "docker-credential-garbage"), "echo "+hush)
	for name, tc := range map[string]struct {
		config, image, want string
		class               error
	}{
		"store":          {`{"credsStore":"echo"}`, "r.io:5000/a", "get r.io:5000", nil},
		"store and file": {`{"auths":{"r.io":` + auth("file:"+hush) + `},"credsStore":"echo"}`, "r.io/a", "get r.io file", nil},
		"Docker's":       {`{"credsStore":"echo"}`, "busybox", "get https://index.docker.io/v1/", nil},
		"helper":         {`{"credsStore":"fails","credHelpers":{"r.io":"echo"}}`, "r.io/a", "get r.io", nil},
		"helper of hub":  {`{"credHelpers":{"https://index.docker.io/v1/":"echo"}}`, "busybox", "get https://index.docker.io/v1/", nil},
		"other helper":   {`{"credHelpers":{"r.io":"fails","index.docker.io":"fails"}}`, "x.io/a", "", nil},
		"token":          {`{"credsStore":"token"}`, "r.io/a", "", nil},
		"none":           {`{"credsStore":"none"}`, "r.io/a", "", nil},
		"fails":          {`{"credsStore":"fails"}`, "r.io/a", "", errdefs.ErrUnavailable},
		"garbage":        {`{"credsStore":"garbage"}`, "r.io/a", "", errdefs.ErrDataLoss},
		"not there":      {`{"credsStore":"nowhere"}`, "r.io/a", "", errdefs.ErrNotFound},
		"a path":         {`{"credsStore":"../x"}`, "r.io/a", "", errdefs.ErrInvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			source, err := FromFile(write(t, filepath.Join(dir, "config.json"), tc.config, 0o600))
			must(t, err)
			got, notices, _ := Lookup(t.Context(), tc.image, source)
			if strings.TrimSpace(users(got)) != tc.want || (tc.class == nil) != (len(notices) == 0) || tc.class != nil && !errors.Is(notices[0].Err, tc.class) {
				t.Errorf("got %q, %v, want %q, %v", users(got), notices, tc.want, tc.class)
			}
			if name == "token" && got[0].IdentityToken() != hush {
				t.Errorf("identity token %q", got[0].IdentityToken())
			}
			silent(t, "notice", notices)
		})
	}
	// A configuration that others can write does not choose what is run.
	source, err := FromFile(write(t, filepath.Join(dir, "config.json"), `{"credsStore":"echo"}`, 0o620))
	must(t, err)
	if got, notices, _ := Lookup(t.Context(), "r.io/a", source); len(got) != 0 || len(notices) != 1 || !errdefs.IsPermissionDenied(notices[0].Err) {
		t.Errorf("writable: %v, %v", got, notices)
	}
	source, err = FromJSON("a secret", []byte(`{"credsStore":"echo"}`))
	must(t, err)
	if got, notices, _ := Lookup(t.Context(), "r.io/a", source); len(got) != 0 || len(notices) != 1 {
		t.Errorf("not a file: %v, %v", got, notices)
	}
}
