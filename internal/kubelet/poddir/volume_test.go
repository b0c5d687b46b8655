package poddir

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pod lays out a pod's directory: a name that ends in "/" is a directory, text
// that begins with "-> " a link, everything else a file.
func pod(t *testing.T, files map[string]string) Dir {
	t.Helper()
	d := Dir{filepath.Join(t.TempDir(), "pods", "uid")}
	must(t, os.MkdirAll(d.path, 0o755))
	for name, text := range files {
		path := filepath.Join(d.path, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if target, link := strings.CutPrefix(text, "-> "); link {
			must(t, os.Symlink(target, path))
		} else if strings.HasSuffix(name, "/") {
			must(t, os.MkdirAll(path, 0o755))
		} else {
			must(t, os.WriteFile(path, []byte(text), 0o600))
		}
	}
	return d
}

func spec(volumes ...corev1.Volume) *corev1.PodSpec { return &corev1.PodSpec{Volumes: volumes} }

func named(name string, source corev1.VolumeSource) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: source}
}

func claimOf(name string) corev1.Volume {
	return named(name, corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}})
}

// TestVolume: every plugin's directory, and what it says of its volumes.
func TestVolume(t *testing.T) {
	for name, tc := range map[string]struct {
		source  corev1.VolumeSource
		dir     string
		ro, lab bool
	}{
		"emptyDir":      {corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, "kubernetes.io~empty-dir/v", false, true},
		"no source":     {corev1.VolumeSource{}, "kubernetes.io~empty-dir/v", false, true},
		"configMap":     {corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}, "kubernetes.io~configmap/v", true, true},
		"secret":        {corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}, "kubernetes.io~secret/v", true, true},
		"projected":     {corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}, "kubernetes.io~projected/v", true, true},
		"downwardAPI":   {corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{}}, "kubernetes.io~downward-api/v", true, true},
		"gitRepo":       {corev1.VolumeSource{GitRepo: &corev1.GitRepoVolumeSource{}}, "kubernetes.io~git-repo/v", false, true},
		"nfs":           {corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}, "kubernetes.io~nfs/v", false, false},
		"nfs, ro":       {corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{ReadOnly: true}}, "kubernetes.io~nfs/v", true, false},
		"iscsi":         {corev1.VolumeSource{ISCSI: &corev1.ISCSIVolumeSource{}}, "kubernetes.io~iscsi/v", false, true},
		"fc, ro":        {corev1.VolumeSource{FC: &corev1.FCVolumeSource{ReadOnly: true}}, "kubernetes.io~fc/v", true, false},
		"csi":           {corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{ReadOnly: new(true)}}, "kubernetes.io~csi/v/mount", true, false},
		"flexVolume":    {corev1.VolumeSource{FlexVolume: &corev1.FlexVolumeSource{Driver: "a.io/b"}}, "a.io~b/v", false, true},
		"claim":         {claimOf("v").VolumeSource, "kubernetes.io~csi/pvc-1/mount", false, false},
		"claim, ro":     {corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ReadOnly: true}}, "kubernetes.io~nfs/pv", true, false},
		"claim, local":  {claimOf("v").VolumeSource, "kubernetes.io~local-volume/pv", false, true},
		"ephemeral":     {corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}, "kubernetes.io~nfs/pv", false, false},
		"one of old":    {corev1.VolumeSource{AzureFile: &corev1.AzureFileVolumeSource{ReadOnly: true}}, "kubernetes.io~csi/x/mount", true, false},
		"csi, one file": {corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}}, "kubernetes.io~csi/v/mount ", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, file := strings.CutSuffix(tc.dir, " ")
			if !file {
				dir += "/"
			}
			d := pod(t, map[string]string{"volumes/" + dir: "", "volumes/kubernetes.io~empty-dir/other/": "", "volumes/kubernetes.io~secret/token/": ""})
			got, err := d.Volume(spec(named("v", tc.source)), "v")
			// On a machine with SELinux the temporary directory has labels.
			if tc.source.CSI != nil || strings.Contains(tc.dir, "~csi") {
				got.Relabel = tc.lab
			}
			if want := (Volume{filepath.Join(d.path, "volumes", dir), tc.ro, tc.lab}); err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

func TestVolumeRefused(t *testing.T) {
	empty := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	for name, tc := range map[string]struct {
		files map[string]string
		spec  *corev1.PodSpec
		class error
		text  string
	}{
		"not in the spec":   {nil, spec(named("a", empty), named("b", empty)), errdefs.ErrNotFound, `volume "v": the pod has no such volume; it has a, b`},
		"no volumes":        {nil, spec(), errdefs.ErrNotFound, "it has none"},
		"image":             {nil, spec(named("v", corev1.VolumeSource{Image: &corev1.ImageVolumeSource{}})), ErrImage, "image"},
		"image's class":     {nil, spec(named("v", corev1.VolumeSource{Image: &corev1.ImageVolumeSource{}})), errdefs.ErrNotImplemented, "image"},
		"of old":            {nil, spec(named("v", corev1.VolumeSource{RBD: &corev1.RBDVolumeSource{}})), errdefs.ErrNotImplemented, "no plugin"},
		"not prepared":      {nil, spec(named("v", empty)), errdefs.ErrNotFound, "kubelet has not prepared it"},
		"a link":            {map[string]string{"volumes/kubernetes.io~empty-dir/v": "-> /etc"}, spec(named("v", empty)), errdefs.ErrFailedPrecondition, "is a symbolic link"},
		"a link within":     {map[string]string{"x/": "", "volumes/kubernetes.io~empty-dir/v": "-> ../../x"}, spec(named("v", empty)), errdefs.ErrFailedPrecondition, "is a symbolic link"},
		"a link above":      {map[string]string{"x/v/": "", "volumes/kubernetes.io~empty-dir": "-> ../x"}, spec(named("v", empty)), errdefs.ErrFailedPrecondition, "is a symbolic link"},
		"driver is a path":  {nil, spec(named("v", corev1.VolumeSource{FlexVolume: &corev1.FlexVolumeSource{Driver: ".."}})), errdefs.ErrInvalidArgument, "not a plain name"},
		"no claim's":        {nil, spec(claimOf("v")), errdefs.ErrNotFound, "a PersistentVolume that is a host path has none"},
		"two claims, one":   {map[string]string{"volumes/kubernetes.io~csi/p/mount/": ""}, spec(claimOf("v"), claimOf("w")), errdefs.ErrConflict, `the claims are ["v" "w"] and the directories kubernetes.io~csi/p`},
		"one claim, two":    {map[string]string{"volumes/kubernetes.io~csi/p/mount/": "", "volumes/kubernetes.io~nfs/q/": ""}, spec(claimOf("v")), errdefs.ErrConflict, "kubernetes.io~csi/p, kubernetes.io~nfs/q"},
		"nil, none":         {map[string]string{"volumes/kubernetes.io~nfs/q/": ""}, nil, errdefs.ErrNotFound, "it has kubernetes.io~nfs/q"},
		"nil, several":      {map[string]string{"volumes/a/v/": "", "volumes/b/v/": ""}, nil, errdefs.ErrConflict, "a/v, b/v"},
		"hostPath relative": {nil, spec(hostPathOf("etc")), errdefs.ErrInvalidArgument, "not absolute"},
		"hostPath back":     {nil, spec(hostPathOf("/etc/../proc")), errdefs.ErrInvalidArgument, "has .. in it"},
		"hostPath none":     {nil, spec(hostPathOf("/nonexistent/x")), errdefs.ErrNotFound, "host path /nonexistent/x"},
		"hostPath in proc":  {nil, spec(hostPathOf("/proc/self/root")), errdefs.ErrPermissionDenied, "proc file system"},
		"hostPath proc":     {nil, spec(hostPathOf("/proc")), errdefs.ErrPermissionDenied, "proc file system"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pod(t, tc.files).Volume(tc.spec, "v")
			if !errors.Is(err, tc.class) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %v with %q", err, tc.class, tc.text)
			}
		})
	}
	for _, bad := range []string{"", ".", "..", "a/b", "../volumes"} {
		if _, err := pod(t, nil).Volume(nil, bad); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := At(filepath.Join(t.TempDir(), "none")).Volume(nil, "v"); !errdefs.IsNotFound(err) {
		t.Errorf("no pod: %v", err)
	}
}

func hostPathOf(path string) corev1.Volume {
	return named("v", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}})
}

// TestHostPath: links are the host's business, unless they lead through /proc.
func TestHostPath(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "real"), 0o700))
	for link, target := range map[string]string{"good": "real", "abs": filepath.Join(dir, "real"), "up": "../" + filepath.Base(dir) + "/good",
		"magic": "/proc/self/root/etc", "chained": "magic", "loop": "loop"} {
		must(t, os.Symlink(target, filepath.Join(dir, link)))
	}
	for name, want := range map[string]error{"real": nil, "good": nil, "abs": nil, "up": nil, "magic": errdefs.ErrPermissionDenied,
		"chained": errdefs.ErrPermissionDenied, "loop": errdefs.ErrFailedPrecondition} {
		path := filepath.Join(dir, name)
		got, err := Dir{dir}.Volume(spec(hostPathOf(path)), "v")
		if !errors.Is(err, want) || err == nil && (got != Volume{Path: path}) {
			t.Errorf("%s: %+v, %v, want %v", name, got, err, want)
		}
	}
}

// TestClaimElimination: inline CSI volumes, block volumes and what other
// volumes explain do not count.
func TestClaimElimination(t *testing.T) {
	d := pod(t, map[string]string{
		"volumes/kubernetes.io~csi/pvc-1/mount/":         "",
		"volumes/kubernetes.io~csi/pvc-1/vol_data.json":  `{"specVolID":"pvc-1","volumeLifecycleMode":"Persistent"}`,
		"volumes/kubernetes.io~csi/gone/mount/":          "",
		"volumes/kubernetes.io~csi/gone/vol_data.json":   `{"specVolID":"gone","volumeLifecycleMode":"Ephemeral"}`,
		"volumes/kubernetes.io~csi/inline/mount/":        "",
		"volumes/kubernetes.io~nfs/share/":               "",
		"volumes/kubernetes.io~projected/kube-api-abcd/": "",
	})
	s := spec(claimOf("data"), claimOf("disk"), named("share", corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}),
		named("inline", corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}}))
	s.Containers = []corev1.Container{{VolumeDevices: []corev1.VolumeDevice{{Name: "disk"}}}}
	got, err := d.Volume(s, "data")
	if want := filepath.Join(d.path, "volumes/kubernetes.io~csi/pvc-1/mount"); err != nil || got.Path != want {
		t.Errorf("got %+v, %v, want %s", got, err, want)
	}
	if _, err := d.Volume(s, "disk"); !errdefs.IsConflict(err) {
		t.Errorf("a device as a directory: %v", err)
	}
}

func TestVolumeWithoutSpec(t *testing.T) {
	d := pod(t, map[string]string{"volumes/kubernetes.io~csi/c/mount/": "", "volumes/kubernetes.io~secret/s/": ""})
	for name, want := range map[string]Volume{
		"s": {filepath.Join(d.path, "volumes/kubernetes.io~secret/s"), true, true},
		"c": {filepath.Join(d.path, "volumes/kubernetes.io~csi/c/mount"), false, false},
	} {
		got, err := d.Volume(nil, name)
		got.Relabel = want.Relabel
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestDevice(t *testing.T) {
	ro := claimOf("disk")
	ro.PersistentVolumeClaim.ReadOnly = true
	s := spec(ro, claimOf("data"))
	link := "volumeDevices/kubernetes.io~csi/pvc-2"
	for name, tc := range map[string]struct {
		target string
		class  error
	}{
		"a file":  {"-> /etc/passwd", errdefs.ErrFailedPrecondition},
		"a tty":   {"-> /dev/null", errdefs.ErrFailedPrecondition},
		"magic":   {"-> /proc/self/root", errdefs.ErrPermissionDenied},
		"broken":  {"-> nothing", errdefs.ErrNotFound},
		"no link": {"", errdefs.ErrFailedPrecondition},
	} {
		if _, err := pod(t, map[string]string{link: tc.target}).Device(s, "disk"); !errors.Is(err, tc.class) {
			t.Errorf("%s: %v, want %v", name, err, tc.class)
		}
	}
	if _, err := pod(t, nil).Device(s, "disk"); !errdefs.IsNotFound(err) {
		t.Errorf("none: %v", err)
	}
	if _, err := pod(t, nil).Device(nil, "disk"); !errdefs.IsNotFound(err) {
		t.Errorf("no spec: %v", err)
	}
	if os.Getuid() != 0 {
		return // only root makes device nodes
	}
	d := pod(t, map[string]string{link: "-> ../../node"})
	if err := syscall.Mknod(filepath.Join(d.path, "node"), syscall.S_IFBLK|0o600, 7<<8); err != nil {
		t.Logf("no block device could be made: %v", err)
		return
	}
	if got, err := d.Device(s, "disk"); err != nil || got != (Device{filepath.Join(d.path, link), true}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMountOptions(t *testing.T) {
	info := "1 0 8:1 / / rw - ext4 /dev/sda rw,seclabel\n" +
		"2 1 0:5 / /a rw shared:1 - tmpfs none rw\n" +
		`3 1 0:6 / /with\040space rw - tmpfs none rw,context="x"` + "\n" +
		"4 2 0:7 / /a rw - xfs none rw,top\n"
	for path, want := range map[string][]string{"/": {"rw", "seclabel"}, "/ab": {"rw", "seclabel"}, "/a/b": {"rw", "top"}, "/with space/x": {"rw", `context="x"`}} {
		if got := optionsIn(info, path); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if len(mountOptions("/")) == 0 {
		t.Error("this machine's root has no mount options")
	}
}
