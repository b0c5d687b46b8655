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
