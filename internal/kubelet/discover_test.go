package kubelet

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

const uid = "5f1c2d7e-9a41-4a53-8c36-0123456789ab"

// TestDiscoverOrder takes one source of knowledge away after the other.
func TestDiscoverOrder(t *testing.T) {
	host := t.TempDir()
	write(t, filepath.Join(host, "var/lib/k0s/kubelet/pods/x"), "")
	write(t, filepath.Join(host, "etc/kubernetes/manifests/x"), "")
	proc := fakeProc(t, fake{pid: 7, argv: []string{"kubelet", "--root-dir=/process", "--pod-manifest-path=/process/m"}})
	o := Options{
		Root: "/said/", PodLogs: "/said/logs", Manifests: "/said/m", Proc: proc, Host: host,
		Target: Facts{PodUID: uid, MountSources: []string{"/etc", "/target/pods/" + uid + "/etc-hosts"}, LogDirectory: "/target/logs/ns_name_" + uid},
	}
	check := func(want ...string) {
		t.Helper()
		p, err := Discover(o)
		if err != nil {
			t.Fatal(err)
		}
		got := []string{
			p.Root + " " + p.Source.Root.String(), p.PodLogs + " " + p.Source.PodLogs.String(), p.Manifests + " " + p.Source.Manifests.String(),
		}
		if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
			t.Errorf("got\n%s\nwant\n%s", g, w)
		}
	}
	check("/said override", "/said/logs override", "/said/m override")
	o.Root, o.PodLogs, o.Manifests = "", "", ""
	check("/target target: mount of /target/pods/"+uid+"/etc-hosts", "/target/logs target: log directory /target/logs/ns_name_"+uid,
		"/process/m process: kubelet 7, flag --pod-manifest-path")
	o.Target = Facts{}
	check("/process process: kubelet 7, flag --root-dir", "/var/log/pods process: kubelet 7, built-in default",
		"/process/m process: kubelet 7, flag --pod-manifest-path")
	o.Proc = fakeProc(t)
	check("/var/lib/k0s/kubelet default: usual place, exists", "/var/log/pods default: usual place, not seen here",
		"/etc/kubernetes/manifests default: usual place, exists")
	o.Host = t.TempDir()
	check("/var/lib/kubelet default: usual place, not seen here", "/var/log/pods default: usual place, not seen here",
		"/etc/kubernetes/manifests default: usual place, not seen here")
}

func TestDiscoverRefusesRelativeOverrides(t *testing.T) {
	for _, o := range []Options{{Root: "kubelet"}, {PodLogs: "./logs"}, {Manifests: "../m"}} {
		if p, err := Discover(o); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%+v: %+v, %v", o, p, err)
		}
	}
}

// TestDiscoverHere: whatever this machine is, every path is told with a source.
func TestDiscoverHere(t *testing.T) {
	p, err := Discover(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for path, source := range map[string]Source{p.Root: p.Source.Root, p.PodLogs: p.Source.PodLogs, p.Manifests: p.Source.Manifests} {
		if !filepath.IsAbs(path) || source.From == "" || source.Detail == "" {
			t.Errorf("path %q, source %+v", path, source)
		}
	}
}

// TestUsualRoots: /var/lib/kubelet exists on many a node whose kubelet is
// elsewhere, with nothing but plugins in it.
func TestUsualRoots(t *testing.T) {
	for name, tc := range map[string]struct{ files, want string }{
		"kubeadm":             {"var/lib/kubelet/pods/x", "/var/lib/kubelet"},
		"no pods yet":         {"var/lib/kubelet/config.yaml", "/var/lib/kubelet"},
		"plugins only":        {"var/lib/kubelet/plugins/x var/lib/k0s/kubelet/pods/x", "/var/lib/k0s/kubelet"},
		"microk8s":            {"var/snap/microk8s/common/var/lib/kubelet/pods/x", "/var/snap/microk8s/common/var/lib/kubelet"},
		"microk8s, no pods":   {"var/snap/microk8s/common/var/lib/kubelet/x", "/var/snap/microk8s/common/var/lib/kubelet"},
		"two, the first wins": {"var/lib/kubelet/pods/x var/lib/k0s/kubelet/pods/x", "/var/lib/kubelet"},
	} {
		t.Run(name, func(t *testing.T) {
			host := t.TempDir()
			for _, file := range strings.Fields(tc.files) {
				write(t, filepath.Join(host, file), "")
			}
			if got := fromUsual(host).root.path; got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestFromTarget(t *testing.T) {
	pods := "/data/kubelet/pods/" + uid
	for name, tc := range map[string]struct {
		facts         Facts
		root, podLogs string
		notes         int
	}{
		"etc-hosts":       {Facts{PodUID: uid, MountSources: []string{pods + "/etc-hosts"}}, "/data/kubelet", "", 0},
		"termination log": {Facts{PodUID: uid, MountSources: []string{pods + "/containers/app/0a1b2c3d"}}, "/data/kubelet", "", 0},
		"volume":          {Facts{PodUID: uid, MountSources: []string{pods + "/volumes/kubernetes.io~projected/token"}}, "/data/kubelet", "", 0},
		"subpath":         {Facts{PodUID: uid, MountSources: []string{pods + "/volume-subpaths/v/app/0"}}, "/data/kubelet", "", 0},
		"all agree":       {Facts{PodUID: uid, MountSources: []string{"/sys", pods + "/etc-hosts", pods + "/volumes/a/b"}}, "/data/kubelet", "", 0},
		"at the root":     {Facts{PodUID: uid, MountSources: []string{"/pods/" + uid + "/etc-hosts"}}, "/", "", 0},
		"logs":            {Facts{PodUID: uid, LogDirectory: "/var/log/pods/ns_name_" + uid}, "", "/var/log/pods", 0},

		"hostPath of the author": {Facts{PodUID: uid, MountSources: []string{pods + "/etc-hosts", "/evil/pods/" + uid + "/volumes/x"}}, "", "", 1},
		"other pod":              {Facts{PodUID: uid, MountSources: []string{"/data/kubelet/pods/6" + uid[1:] + "/etc-hosts"}}, "", "", 0},
		"other file":             {Facts{PodUID: uid, MountSources: []string{pods + "/etc-hosts2", pods + "/volumes", pods + "/x/y"}}, "", "", 0},
		"not absolute":           {Facts{PodUID: uid, MountSources: []string{"x/pods/" + uid + "/etc-hosts"}, LogDirectory: "x/ns_name_" + uid}, "", "", 0},
		"not clean":              {Facts{PodUID: uid, MountSources: []string{"/a/../pods/" + uid + "/etc-hosts"}, LogDirectory: "/a/../ns_name_" + uid}, "", "", 0},
		"other logs":             {Facts{PodUID: uid, LogDirectory: "/var/log/pods/ns_name_" + uid + "/app"}, "", "", 0},
		"no uid":                 {Facts{MountSources: []string{"/a/pods//etc-hosts"}, LogDirectory: "/a/b_"}, "", "", 0},
		"uid with a path":        {Facts{PodUID: "a/b", MountSources: []string{"/x/pods/a/b/etc-hosts"}}, "", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := fromTarget(tc.facts)
			if f.root.path != tc.root || f.podLogs.path != tc.podLogs || len(f.notes) != tc.notes {
				t.Errorf("got %+v, want %q, %q and %d notes", f, tc.root, tc.podLogs, tc.notes)
			}
		})
	}
}

func TestPaths(t *testing.T) {
	p := Paths{Root: "/var/lib/kubelet"}
	for _, tc := range []struct {
		what string
		call func(string) (string, error)
		want string
	}{
		{"PodDir", p.PodDir, "/var/lib/kubelet/pods/x"},
		{"EtcHosts", p.EtcHosts, "/var/lib/kubelet/pods/x/etc-hosts"},
		{"ContainerDir of pod", func(s string) (string, error) { return p.ContainerDir(s, "app") }, "/var/lib/kubelet/pods/x/containers/app"},
		{"ContainerDir of container", func(s string) (string, error) { return p.ContainerDir("uid", s) }, "/var/lib/kubelet/pods/uid/containers/x"},
	} {
		if got, err := tc.call("x"); err != nil || got != tc.want {
			t.Errorf("%s: %q, %v, want %q", tc.what, got, err, tc.want)
		}
		for _, bad := range []string{"", ".", "..", "/", "a/b", "../x", "a\x00", `a\b`} {
			if got, err := tc.call(bad); !errdefs.IsInvalidArgument(err) {
				t.Errorf("%s(%q) = %q, %v", tc.what, bad, got, err)
			}
		}
	}
}
