package kubelet

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fake is one process of a made-up /proc.
type fake struct {
	pid  int
	argv []string
	// uids and mnt default to root's and to the caller's mount namespace.
	uids, mnt, root string
}

const (
	ownMounts  = "mnt:[4026531841]"
	initMounts = "mnt:[4026531840]"
	podMounts  = "mnt:[4026532666]"
)

// fakeProc lays out a proc root in which the caller is PID 99 and, like PID 1,
// not a kubelet.
func fakeProc(t *testing.T, processes ...fake) string {
	t.Helper()
	proc := t.TempDir()
	processes = append(processes, fake{pid: 99, argv: []string{"porthole"}}, fake{pid: 1, argv: []string{"/sbin/init"}, mnt: initMounts}, fake{pid: 2})
	for _, p := range processes {
		dir := filepath.Join(proc, strconv.Itoa(p.pid))
		must(t, os.MkdirAll(filepath.Join(dir, "ns"), 0o755))
		write(t, filepath.Join(dir, "cmdline"), strings.Join(append(p.argv, ""), "\x00"))
		write(t, filepath.Join(dir, "status"), "Name:\tx\nUid:\t"+or(p.uids, "0\t0\t0\t0")+"\nGid:\t0\t0\t0\t0\n")
		must(t, os.Symlink(or(p.mnt, ownMounts), filepath.Join(dir, "ns/mnt")))
		must(t, os.Symlink(or(p.root, "/"), filepath.Join(dir, "root")))
		must(t, os.Symlink("/work dir", filepath.Join(dir, "cwd")))
	}
	must(t, os.Symlink("99", filepath.Join(proc, "self")))
	write(t, filepath.Join(proc, "cmdline"), "kubelet\x00") // the kernel's
	return proc
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestFromProcesses(t *testing.T) {
	kubelet := func(args ...string) []string { return append([]string{"/usr/bin/kubelet"}, args...) }
	for name, tc := range map[string]struct {
		processes                []fake
		root, podLogs, manifests string
		note                     string
	}{
		"none":     {nil, "", "", "", ""},
		"no flags": {[]fake{{pid: 7, argv: kubelet()}}, builtinRoot, builtinPodLogs, "", ""},
		"flags":    {[]fake{{pid: 7, argv: kubelet("--v=2", "--root-dir=/data/kubelet/", "--pod-manifest-path", "/m")}}, "/data/kubelet", builtinPodLogs, "/m", ""},
		"twice":    {[]fake{{pid: 7, argv: kubelet("--root-dir=/a", "--root_dir", "/b")}}, "/b", builtinPodLogs, "", ""},
		"relative": {[]fake{{pid: 7, argv: kubelet("--root-dir=state")}}, "/work dir/state", builtinPodLogs, "", ""},
		"of init":  {[]fake{{pid: 7, argv: kubelet("--root-dir=/a", "--config=/c"), mnt: initMounts}}, "/a", "", "", "kubelet 7: its configuration /c was not read"},
		"drop-ins": {[]fake{{pid: 7, argv: kubelet("--config-dir=/d")}}, builtinRoot, "", "", "--config-dir were not read"},

		"in a pod":       {[]fake{{pid: 7, argv: kubelet("--root-dir=/evil"), mnt: podMounts}}, "", "", "", "kubelet 7 is not believed: it lives in another mount namespace"},
		"not root":       {[]fake{{pid: 7, argv: kubelet("--root-dir=/evil"), uids: "1000\t0\t0\t0"}}, "", "", "", "kubelet 7 is not believed: it runs with user ids [1000 0 0 0]"},
		"impostor first": {[]fake{{pid: 7, argv: kubelet("--root-dir=/evil"), mnt: podMounts}, {pid: 8, argv: kubelet("--root-dir=/a")}}, "/a", builtinPodLogs, "", "7 is not believed"},
		"near first":     {[]fake{{pid: 7, argv: kubelet("--root-dir=/far"), mnt: initMounts}, {pid: 8, argv: kubelet("--root-dir=/near")}}, "/near", builtinPodLogs, "", "kubelet 7 runs, too; kubelet 8 was asked"},
		"other name":     {[]fake{{pid: 7, argv: []string{"/usr/bin/kubelet-helper", "--root-dir=/a"}}}, "", "", "", ""},
		"as an argument": {[]fake{{pid: 7, argv: []string{"journalctl", "-u", "kubelet"}}}, "", "", "", ""},

		"k3s, hidden":    {[]fake{{pid: 7, argv: []string{"/usr/local/bin/k3s server"}}}, "", "", "/var/lib/rancher/k3s/agent/pod-manifests", ""},
		"k3s, data-dir":  {[]fake{{pid: 7, argv: []string{"k3s", "agent", "-d", "/k", "--kubelet-arg=root-dir=/r"}}}, "/r", builtinPodLogs, "/k/agent/pod-manifests", ""},
		"k3s, its child": {[]fake{{pid: 7, argv: []string{"k3s", "kubectl", "get", "pods"}}}, "", "", "", ""},
		"k0s":            {[]fake{{pid: 7, argv: []string{"k0s", "worker", "--data-dir=/k0s"}}}, "/k0s/kubelet", "", "", ""},
		"k0s, root":      {[]fake{{pid: 7, argv: []string{"k0s", "worker", "--data-dir=/k0s", "--kubelet-root-dir=/r"}}}, "/r", "", "", ""},
		"k0s and kubelet": {[]fake{{pid: 7, argv: []string{"k0s", "controller", "--data-dir=/k0s"}}, {pid: 8, argv: kubelet("--root-dir=/r")}},
			"/r", builtinPodLogs, "", "k0s 7 runs, too"},
	} {
		t.Run(name, func(t *testing.T) {
			f := fromProcesses(fakeProc(t, tc.processes...))
			got := []string{f.root.path, f.podLogs.path, f.manifests.path}
			if want := []string{tc.root, tc.podLogs, tc.manifests}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if notes := strings.Join(f.notes, "\n"); !strings.Contains(notes, tc.note) || (tc.note == "" && notes != "") {
				t.Errorf("notes %q, want %q", notes, tc.note)
			}
		})
	}
}

func TestFromProcessesWithoutProc(t *testing.T) {
	f := fromProcesses(filepath.Join(t.TempDir(), "none"))
	if f.root != (value{}) || len(f.notes) != 1 {
		t.Errorf("got %+v", f)
	}
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		write(t, path, text)
		return path
	}
	full := file("full.yaml", "kind: KubeletConfiguration\npodLogsDir: /logs\nstaticPodPath: /static\nfailCgroupV1: false\n")
	for name, tc := range map[string]struct {
		fake               fake
		podLogs, manifests string
		note               string
	}{
		"yaml":            {fake{argv: []string{"--config", full}}, "/logs", "/static", ""},
		"json":            {fake{argv: []string{"--config=" + file("c.json", `{"podLogsDir":"/logs","staticPodPath":"/static"}`)}}, "/logs", "/static", ""},
		"empty":           {fake{argv: []string{"--config=" + file("empty.yaml", "")}}, builtinPodLogs, "", ""},
		"flag wins":       {fake{argv: []string{"--pod-manifest-path=/flag", "--config=" + full}}, "/logs", "/flag", ""},
		"relative":        {fake{argv: []string{"--config=" + file("rel.yaml", "staticPodPath: manifests\n")}}, builtinPodLogs, filepath.Join(dir, "manifests"), ""},
		"with drop-ins":   {fake{argv: []string{"--config=" + full, "--config-dir=/d"}}, "/logs", "/static", "drop-ins"},
		"missing":         {fake{argv: []string{"--config=" + dir + "/none"}}, "", "", "no such file"},
		"directory":       {fake{argv: []string{"--config=" + dir}}, "", "", "not a regular file"},
		"malformed":       {fake{argv: []string{"--config=" + file("bad.yaml", "podLogsDir: [")}}, "", "", "not read"},
		"other namespace": {fake{argv: []string{"--config=" + full}, mnt: initMounts}, "", "", "another mount namespace or root"},
		"other root":      {fake{argv: []string{"--config=" + full}, root: dir}, "", "", "another mount namespace or root"},
		"without a value": {fake{argv: []string{"--config"}}, "", "", "cannot be told"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.fake.pid, tc.fake.argv = 7, append([]string{"kubelet"}, tc.fake.argv...)
			f := fromProcesses(fakeProc(t, tc.fake))
			if f.podLogs.path != tc.podLogs || f.manifests.path != tc.manifests {
				t.Errorf("got %q and %q, want %q and %q", f.podLogs.path, f.manifests.path, tc.podLogs, tc.manifests)
			}
			if notes := strings.Join(f.notes, "\n"); !strings.Contains(notes, tc.note) || (tc.note == "" && notes != "") {
				t.Errorf("notes %q, want %q", notes, tc.note)
			}
		})
	}
}

func TestFlagValues(t *testing.T) {
	args := []string{"run", "--a=1", "-a", "2", "--a_b=3", "--aa=4", "a=5", "--a", "--", "--a=6"}
	if got := flagValues(args, "a"); !slices.Equal(got, []string{"1", "2", "--", "6"}) {
		t.Errorf("a: %q", got)
	}
	if got := flagValues(args, "a-b"); !slices.Equal(got, []string{"3"}) {
		t.Errorf("a-b: %q", got)
	}
	if got := flagValues([]string{"--a=1", "--", "--a=2"}, "a"); !slices.Equal(got, []string{"1"}) {
		t.Errorf("after --: %q", got)
	}
	if got := flagValues([]string{"--a"}, "a"); !slices.Equal(got, []string{""}) {
		t.Errorf("without a value: %q", got)
	}
}
