// Package node reads what kubelet reads of the machine itself and puts into
// every container's request: the sizes of huge pages, and the thermal counters
// that must be masked.
//
// What does not belong here: anything about a pod, a container or kubelet's own
// files.
package node

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Root is where the kernel shows itself; a test gives its own.
const Root = "/sys"

// HugepageSizes lists the node's huge page sizes as kubelet writes them (2MB,
// 1GB), smallest first. A kernel without huge pages has none.
func HugepageSizes(sys string) []string {
	entries, err := os.ReadDir(filepath.Join(sys, "kernel/mm/hugepages"))
	if err != nil {
		return nil
	}
	var kilobytes []int
	for _, e := range entries {
		text := strings.TrimSuffix(strings.TrimPrefix(e.Name(), "hugepages-"), "kB")
		if size, err := strconv.Atoi(text); err == nil && size > 0 {
			kilobytes = append(kilobytes, size)
		}
	}
	slices.Sort(kilobytes)
	var out []string
	for _, size := range kilobytes {
		out = append(out, sizeName(size))
	}
	return out
}

// HugepageBytes is how much of the node's memory is set aside for huge pages of
// all sizes.
func HugepageBytes(sys string) int64 {
	found, err := filepath.Glob(filepath.Join(sys, "kernel/mm/hugepages/hugepages-*kB/nr_hugepages"))
	if err != nil {
		return 0
	}
	var total int64
	for _, path := range found {
		size := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(filepath.Dir(path)), "hugepages-"), "kB")
		kilobytes, sizeErr := strconv.ParseInt(size, 10, 64)
		text, err := os.ReadFile(path)
		count, countErr := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && sizeErr == nil && countErr == nil {
			total += count * kilobytes << 10
		}
	}
	return total
}

// sizeName is the unit that the OCI runtime expects: powers of 1024 with the
// decimal prefixes' names.
func sizeName(kilobytes int) string {
	units := []string{"KB", "MB", "GB", "TB"}
	i := 0
	for kilobytes >= 1024 && kilobytes%1024 == 0 && i < len(units)-1 {
		kilobytes, i = kilobytes/1024, i+1
	}
	return strconv.Itoa(kilobytes) + units[i]
}

// ThermalThrottle lists each CPU's thermal_throttle directory that exists.
// Kubelet masks them because their counters tell of neighbours
// (pkg/securitycontext, defaultMaskedPaths).
func ThermalThrottle(sys string) []string {
	found, err := filepath.Glob(filepath.Join(sys, "devices/system/cpu/cpu[0-9]*/thermal_throttle"))
	if err != nil {
		return nil
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return found
}

// Memory is the node's memory in bytes (MemTotal), 0 if it cannot be told. proc
// is where the kernel shows its own numbers.
func Memory(proc string) int64 {
	data, err := os.ReadFile(filepath.Join(proc, "meminfo"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "MemTotal:" && fields[2] == "kB" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0
			}
			return kilobytes << 10
		}
	}
	return 0
}

// CgroupV2 reports whether the node's cgroups are unified: /sys/fs/cgroup is
// then a cgroup2 file system, which alone has this file (systemd's rule, and
// runc's IsCgroup2UnifiedMode).
func CgroupV2(sys string) bool { return exists(filepath.Join(sys, "fs/cgroup/cgroup.controllers")) }

// SwapController reports whether containers' cgroups can limit swap
// (kubelet's swapControllerAvailable). On v2 the file is in every cgroup but the
// root, so it is looked for in the first one below.
func SwapController(sys string) bool {
	if !CgroupV2(sys) {
		return exists(filepath.Join(sys, "fs/cgroup/memory/memory.memsw.limit_in_bytes"))
	}
	found, err := filepath.Glob(filepath.Join(sys, "fs/cgroup/*/memory.swap.max"))
	return err == nil && len(found) > 0
}

// SELinux reports whether the node labels files and processes (go-selinux's
// GetEnabled).
func SELinux(sys string) bool { return exists(filepath.Join(sys, "fs/selinux/enforce")) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
