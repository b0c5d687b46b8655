package poddir

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

// version lays out a volume as kubelet's atomic writer does.
func version(volume string, files map[string]string) map[string]string {
	dir := "volumes/" + volume + "/"
	layout := map[string]string{dir + "..2026_01_02/": "", dir + "..data": "-> ..2026_01_02"}
	for name, text := range files {
		layout[dir+"..2026_01_02/"+name] = text
		first, _, _ := strings.Cut(name, "/")
		layout[dir+first] = "-> ..data/" + first
	}
	return layout
}

func configMapOf(name string, items ...corev1.KeyToPath) corev1.VolumeSource {
	return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Items: items}}
}

func secretOf(name string) corev1.VolumeSource {
	return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}
}

func projectedOf(sources ...corev1.VolumeProjection) corev1.VolumeSource {
	return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}}
}

func projectedConfigMap(name string, items ...corev1.KeyToPath) corev1.VolumeProjection {
	return corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Items: items}}
}

func item(key, path string) corev1.KeyToPath { return corev1.KeyToPath{Key: key, Path: path} }

func TestConfigMapKey(t *testing.T) {
	cm, both := "kubernetes.io~configmap/v", map[string]string{"a": "1", "binary": "\xff\xfe", "sub/b": "2", ".hidden": "3"}
	token := corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}
	for name, tc := range map[string]struct {
		source corev1.VolumeSource
		files  map[string]string
		key    string
		want   string
		class  error
		text   string
		absent bool // what is optional is known not to exist
	}{
		"key":              {configMapOf("c"), version(cm, both), "a", "1", nil, "", false},
		"dot key":          {configMapOf("c"), version(cm, both), ".hidden", "3", nil, "", false},
		"item":             {configMapOf("c", item("b", "sub/b")), version(cm, both), "b", "2", nil, "", false},
		"item not there":   {configMapOf("c", item("b", "x")), version(cm, both), "b", "", errdefs.ErrNotFound, `no such key, by volume "v"`, true},
		"not an item":      {configMapOf("c", item("b", "sub/b")), version(cm, both), "a", "", errdefs.ErrNotFound, "only other keys", false},
		"no such key":      {configMapOf("c"), version(cm, both), "x", "", errdefs.ErrNotFound, `configMap "c", key "x": it has no such key`, true},
		"binary":           {configMapOf("c"), version(cm, both), "binary", "", errdefs.ErrNotFound, "binaryData", true},
		"other configMap":  {configMapOf("d"), version(cm, both), "a", "", errdefs.ErrNotFound, "no volume of this pod holds it, and", false},
		"secret":           {secretOf("c"), version("kubernetes.io~secret/v", both), "a", "", errdefs.ErrNotFound, "ask the API server", false},
		"not prepared":     {configMapOf("c"), nil, "a", "", errdefs.ErrNotFound, "has not prepared", false},
		"not yet written":  {configMapOf("c"), map[string]string{"volumes/" + cm + "/": ""}, "a", "", errdefs.ErrNotFound, "no ..data", false},
		"key is a path":    {configMapOf("c"), version(cm, both), "../x", "", errdefs.ErrNotFound, "only other keys", false},
		"item leaves":      {configMapOf("c", item("a", "../../../etc-hosts")), version(cm, both), "a", "", errdefs.ErrInvalidArgument, "leaves volume", false},
		"projected":        {projectedOf(token, projectedConfigMap("c")), version("kubernetes.io~projected/v", both), "a", "1", nil, "", false},
		"projected token":  {projectedOf(token, projectedConfigMap("c")), version("kubernetes.io~projected/v", map[string]string{"token": "t"}), "token", "", errdefs.ErrNotFound, "another source's file at token", false},
		"projected, mixed": {projectedOf(projectedConfigMap("c"), projectedConfigMap("d")), version("kubernetes.io~projected/v", both), "a", "", errdefs.ErrNotFound, "another source's file at a", false},
		"projected items": {projectedOf(projectedConfigMap("c", item("a", "a")), projectedConfigMap("d", item("a", "b"))),
			version("kubernetes.io~projected/v", both), "a", "1", nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			d := pod(t, tc.files)
			ref := &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}, Key: tc.key}
			got, ok, err := d.ConfigMapKey(spec(named("v", tc.source)), ref)
			if got != tc.want || ok != (tc.class == nil) || !errors.Is(err, tc.class) || err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %q, %v, %v, want %q, %v with %q", got, ok, err, tc.want, tc.class, tc.text)
			}
			ref.Optional = new(true)
			got, ok, err = d.ConfigMapKey(spec(named("v", tc.source)), ref)
			if got != tc.want || ok != (tc.class == nil) || (err != nil) != (tc.class != nil && !tc.absent) {
				t.Errorf("optional: got %q, %v, %v", got, ok, err)
			}
		})
	}
}

// TestKeyFiles: what a privileged container may have put where kubelet writes.
func TestKeyFiles(t *testing.T) {
	dir := "volumes/kubernetes.io~secret/v/"
	s := spec(named("v", secretOf("s")))
	ref := &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: "k"}
	for name, tc := range map[string]struct {
		files map[string]string
		class error
	}{
		"link out":         {map[string]string{dir + "..data": "-> ..1", dir + "..1/k": "-> ../../../../etc-hosts", "etc-hosts": "x"}, errdefs.ErrFailedPrecondition},
		"absolute link":    {map[string]string{dir + "..data": "-> ..1", dir + "..1/k": "-> /etc/shadow"}, errdefs.ErrFailedPrecondition},
		"data link out":    {map[string]string{dir + "..data": "-> ../../x", "volumes/x/k": "x"}, errdefs.ErrNotFound},
		"data absolute":    {map[string]string{dir + "..data": "-> /etc"}, errdefs.ErrNotFound},
		"data is a dir":    {map[string]string{dir + "..data/k": "x"}, errdefs.ErrNotFound},
		"key is a dir":     {map[string]string{dir + "..data": "-> ..1", dir + "..1/k/": ""}, errdefs.ErrFailedPrecondition},
		"more than an API": {map[string]string{dir + "..data": "-> ..1", dir + "..1/k": strings.Repeat("x", objectLimit+1)}, errdefs.ErrOutOfRange},
		"volume is a link": {map[string]string{"volumes/kubernetes.io~secret/v": "-> ../../x", "x/..data": "-> ..1", "x/..1/k": "x"}, errdefs.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			if got, _, err := pod(t, tc.files).SecretKey(s, ref); !errors.Is(err, tc.class) || got != "" {
				t.Errorf("got %q, %v, want %v", got, err, tc.class)
			}
		})
	}
	d := pod(t, map[string]string{dir + "..data": "-> ..1", dir + "..1/": ""})
	must(t, syscall.Mkfifo(d.path+"/"+dir+"..1/k", 0o600))
	if _, _, err := d.SecretKey(s, ref); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("a FIFO: %v", err)
	}
}

func TestWhole(t *testing.T) {
	files := map[string]string{"a": "1", "binary": "\xff"}
	cm, pr := version("kubernetes.io~configmap/v", files), version("kubernetes.io~projected/v", files)
	big := make(map[string]string)
	for i := range 3 {
		big[fmt.Sprint("k", i)] = strings.Repeat("x", objectLimit/2)
	}
	for name, tc := range map[string]struct {
		source corev1.VolumeSource
		files  map[string]string
		want   map[string]string
		text   string
	}{
		"all":             {configMapOf("c"), cm, map[string]string{"a": "1"}, ""},
		"empty":           {configMapOf("c"), version("kubernetes.io~configmap/v", nil), map[string]string{}, ""},
		"items":           {configMapOf("c", item("a", "a")), cm, nil, "only the keys that its items name"},
		"projected alone": {projectedOf(projectedConfigMap("c")), pr, map[string]string{"a": "1"}, ""},
		"projected":       {projectedOf(projectedConfigMap("c"), projectedConfigMap("d")), pr, nil, "files of other sources"},
		"not mounted":     {configMapOf("d"), cm, nil, `configMap "c", all of it: no volume of this pod holds it, and`},
		"too large":       {configMapOf("c"), version("kubernetes.io~configmap/v", big), nil, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := pod(t, tc.files).ConfigMap(spec(named("v", tc.source)), "c")
			if tc.want == nil && (err == nil || !strings.Contains(err.Error(), tc.text)) || tc.want != nil && (err != nil || !maps.Equal(got, tc.want)) {
				t.Errorf("got %q, %v, want %q or %q", got, err, tc.want, tc.text)
			}
		})
	}
	// A secret's values are bytes.
	got, err := pod(t, version("kubernetes.io~secret/v", files)).Secret(spec(named("v", secretOf("s"))), "s")
	if err != nil || !maps.Equal(got, files) {
		t.Errorf("secret: %q, %v", got, err)
	}
	if _, err := pod(t, nil).Secret(nil, "s"); !errdefs.IsNotFound(err) {
		t.Errorf("no spec: %v", err)
	}
}

func TestEnvFileKey(t *testing.T) {
	empty := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	dir := "volumes/kubernetes.io~empty-dir/v/"
	files := map[string]string{dir + "env": "A='1'\nB=''\n", dir + "bad": "A=1\n", dir + "link": "-> env", dir + "out": "-> ../../../etc-hosts", "etc-hosts": "A='x'\n"}
	for name, tc := range map[string]struct {
		source    corev1.VolumeSource
		path, key string
		want      string
		class     error
	}{
		"key":          {empty, "env", "A", "1", nil},
		"by a link":    {empty, "link", "A", "1", nil},
		"link out":     {empty, "out", "A", "", errdefs.ErrFailedPrecondition},
		"empty":        {empty, "env", "B", "", errdefs.ErrNotFound},
		"no key":       {empty, "env", "C", "", errdefs.ErrNotFound},
		"no file":      {empty, "none", "A", "", errdefs.ErrNotFound},
		"malformed":    {empty, "bad", "A", "", errdefs.ErrInvalidArgument},
		"leaves":       {empty, "../x", "A", "", errdefs.ErrInvalidArgument},
		"hostPath":     {hostPathOf("/etc").VolumeSource, "env", "A", "", errdefs.ErrInvalidArgument},
		"no such name": {configMapOf("c"), "env", "A", "", errdefs.ErrInvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			d := pod(t, files)
			got, ok, err := d.EnvFileKey(spec(named("v", tc.source)), &corev1.FileKeySelector{VolumeName: "v", Path: tc.path, Key: tc.key})
			if got != tc.want || ok != (tc.class == nil) || !errors.Is(err, tc.class) {
				t.Errorf("got %q, %v, %v, want %q, %v", got, ok, err, tc.want, tc.class)
			}
		})
	}
	for key, want := range map[string]error{"C": nil, "B": nil} {
		_, ok, err := pod(t, files).EnvFileKey(spec(named("v", empty)), &corev1.FileKeySelector{VolumeName: "v", Path: "env", Key: key, Optional: new(true)})
		if ok || !errors.Is(err, want) {
			t.Errorf("optional %s: %v, %v", key, ok, err)
		}
	}
}

// TestEnvValue follows kubelet's util/env/env_util.go.
func TestEnvValue(t *testing.T) {
	for name, tc := range map[string]struct{ text, want, err string }{
		"plain":              {"K='v'", "v", ""},
		"later":              {"# c\n\n \t\nA='x'\n  K='v'\n", "v", ""},
		"first wins":         {"K='1'\nK='2'", "1", ""},
		"literal":            {`K='a "$B" \n #c'`, `a "$B" \n #c`, ""},
		"equals":             {"K='a=b'", "a=b", ""},
		"a quote over lines": {"A='x\nK='\nK='1\n 2\r\n'", "1\n 2\n", ""},
		"several lines":      {"A='x\ny'\nK='1\n 2\r\n'", "1\n 2\n", ""},
		"comment behind":     {"A='x' # c'\nK='v'# c", "v", ""},
		"text behind":        {"K='v' x", "", "line 1: something follows the closing quote"},
		"not reached":        {"K='v'\nnonsense", "v", ""},
		"none":               {"A='v'", "", ""},
		"space behind =":     {"K= 'v'", "", ""},
		"others, too":        {"A= nonsense\nK='v'", "v", ""},
		"space before =":     {"K ='v'", "", "line 1 has a space before ="},
		"no =":               {"A='x'\nK", "", "line 2 has no ="},
		"no name":            {"='x'", "", "line 1 has no name"},
		"no quotes":          {"K=v", "", "line 1: the value is not in single quotes"},
		"double quotes":      {`K="v"`, "", "not in single quotes"},
		"nothing":            {"K=", "", "not in single quotes"},
		"not closed":         {"A='x'\nK='v\n\n", "", "line 2: the quote is not closed"},
		"line without end":   {"K='" + strings.Repeat("x", 70_000) + "'", "", "token too long"},
		"export is a space":  {"export K='v'", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := envValue([]byte(tc.text), "K")
			if tc.err == "" && (err != nil || got != tc.want) || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("got %q, %v, want %q, %q", got, err, tc.want, tc.err)
			}
		})
	}
}
