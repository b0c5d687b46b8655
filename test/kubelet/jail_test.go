package kubelet

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// rootVar makes the test binary become kubelet. It names kubelet's root
// directory; the arguments are kubelet's command line.
const rootVar = "PORTHOLE_KUBELET_ROOT"

// tunables are the settings of the kernel that kubelet changes for the whole
// machine at its start, with the values that it wants.
var tunables = map[string]int{
	"vm/overcommit_memory":      1,
	"vm/panic_on_oom":           0,
	"kernel/panic":              10,
	"kernel/panic_on_oops":      1,
	"kernel/keys/root_maxkeys":  1000000,
	"kernel/keys/root_maxbytes": 25000000,
}

// hidden are the machine's directories in which kubelet makes things whatever
// its configuration says: device-plugins in /var/lib/kubelet, where it also
// removes what another kubelet's plugins have, and /var/log/containers.
var hidden = []string{"/var/lib", "/var/log"}

// becomeKubelet replaces this process, which has a mount namespace of its own,
// by kubelet. In that namespace all that kubelet would change of the machine is
// hidden; what it mounts below root is for containerd, too, and stays shared.
func becomeKubelet(root string, argv []string) error {
	if err := keepMounts(root); err != nil {
		return err
	}
	for _, dir := range hidden {
		if err := unix.Mount("porthole", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("hide %s from kubelet: %w", dir, err)
		}
	}
	for name, value := range tunables {
		file := filepath.Join(hidden[0], strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(file, []byte(strconv.Itoa(value)+"\n"), 0o600); err != nil {
			return err
		}
		if err := unix.Mount(file, "/proc/sys/"+name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("hide /proc/sys/%s from kubelet: %w", name, err)
		}
	}
	return fmt.Errorf("run %s: %w", argv[0], unix.Exec(argv[0], argv, slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, rootVar+"=")
	})))
}

// keepMounts sees to it that no mount of ours leaves this namespace unless it
// is at or below root, and that none of the node's containers is kept mounted
// by a copy in it.
func keepMounts(root string) error {
	points, err := mountPoints()
	if err != nil {
		return err
	}
	for _, p := range slices.Backward(points) {
		if p == root || strings.HasPrefix(p, root+"/") {
			continue
		}
		if err := unix.Mount("", p, "", unix.MS_SLAVE, ""); err != nil {
			return fmt.Errorf("keep what is mounted on %s here: %w", p, err)
		}
		if strings.HasPrefix(p, filepath.Dir(root)+"/") {
			if err := unix.Unmount(p, unix.MNT_DETACH); err != nil {
				return fmt.Errorf("unmount %s: %w", p, err)
			}
		}
	}
	return nil
}

// mountPoints lists the mount points of this process, in the order they were
// made. Those that another mount hides are left out.
func mountPoints() ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var points []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			points = append(points, fields[4])
		}
	}
	return points, nil
}

// machineStays fails the test if at its end the machine is not as it was,
// wherever kubelet would have changed it.
func machineStays(t *testing.T) {
	t.Helper()
	look := func() map[string]string {
		seen := map[string]string{}
		for name := range tunables {
			text, _ := os.ReadFile("/proc/sys/" + name)
			seen["/proc/sys/"+name] = string(text)
		}
		for _, pattern := range []string{"/var/lib/kubelet/*", "/var/log/containers", "/usr/libexec/kubernetes"} {
			found, _ := filepath.Glob(pattern)
			seen[pattern] = strings.Join(found, " ")
		}
		return seen
	}
	before := look()
	t.Cleanup(func() {
		for what, now := range look() {
			if now != before[what] {
				t.Errorf("%s was %q and is %q", what, before[what], now)
			}
		}
	})
}
