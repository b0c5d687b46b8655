package node

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestNode(t *testing.T) {
	sys := t.TempDir()
	for _, dir := range []string{
		"kernel/mm/hugepages/hugepages-1048576kB", "kernel/mm/hugepages/hugepages-2048kB", "kernel/mm/hugepages/hugepages-64kB", "kernel/mm/hugepages/odd",
		"devices/system/cpu/cpu10/thermal_throttle", "devices/system/cpu/cpu2/thermal_throttle", "devices/system/cpu/cpu3", "devices/system/cpu/cpufreq/thermal_throttle",
	} {
		if err := os.MkdirAll(filepath.Join(sys, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := HugepageSizes(sys), []string{"64KB", "2MB", "1GB"}; !slices.Equal(got, want) {
		t.Errorf("huge pages %v, want %v", got, want)
	}
	want := []string{filepath.Join(sys, "devices/system/cpu/cpu2/thermal_throttle"), filepath.Join(sys, "devices/system/cpu/cpu10/thermal_throttle")}
	if got := ThermalThrottle(sys); !slices.Equal(got, want) {
		t.Errorf("thermal %v, want %v", got, want)
	}
}

func TestNothingThere(t *testing.T) {
	if got := HugepageSizes(t.TempDir()); got != nil {
		t.Errorf("huge pages %v of an empty tree", got)
	}
	if got := ThermalThrottle(t.TempDir()); got != nil {
		t.Errorf("thermal %v of an empty tree", got)
	}
}

func TestCgroupsAndMemory(t *testing.T) {
	write := func(root, name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v1, v2, bare := t.TempDir(), t.TempDir(), t.TempDir()
	write(v1, "fs/cgroup/memory/memory.memsw.limit_in_bytes", "")
	write(v2, "fs/cgroup/cgroup.controllers", "memory")
	write(v2, "fs/cgroup/kubepods.slice/memory.swap.max", "max")
	write(v2, "fs/selinux/enforce", "1")
	write(bare, "fs/cgroup/cgroup.controllers", "memory")
	for what, c := range map[string]struct {
		sys               string
		v2, swap, selinux bool
	}{
		"v1 with swap accounting": {v1, false, true, false},
		"v2":                      {v2, true, true, true},
		"v2 without swap":         {bare, true, false, false},
		"nothing":                 {t.TempDir(), false, false, false},
	} {
		if CgroupV2(c.sys) != c.v2 || SwapController(c.sys) != c.swap || SELinux(c.sys) != c.selinux {
			t.Errorf("%s: v2 %v, swap %v, SELinux %v", what, CgroupV2(c.sys), SwapController(c.sys), SELinux(c.sys))
		}
	}
	write(v1, "kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "3\n")
	write(v1, "kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "1\n")
	write(v1, "kernel/mm/hugepages/hugepages-64kB/nr_hugepages", "odd\n")
	if got, want := HugepageBytes(v1), int64(1<<30+6<<20); got != want || HugepageBytes(t.TempDir()) != 0 {
		t.Errorf("huge pages of %d bytes, want %d", got, want)
	}
	proc := t.TempDir()
	for text, want := range map[string]int64{
		"MemTotal:       16384256 kB\nMemFree: 1 kB\n": 16384256 << 10, "MemFree: 1 kB\n": 0, "MemTotal: many kB\n": 0, "MemTotal: 5 pages\n": 0,
	} {
		write(proc, "meminfo", text)
		if got := Memory(proc); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if got := Memory(t.TempDir()); got != 0 {
		t.Errorf("no meminfo: %d", got)
	}
}
