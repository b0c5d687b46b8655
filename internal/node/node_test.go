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
