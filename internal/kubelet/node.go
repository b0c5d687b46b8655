package kubelet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// stateLimit is far more than the CPU manager writes for the largest node.
const stateLimit = 16 << 20

// SharedCPUs returns the CPUs that containers without CPUs of their own share,
// as a list for a cpuset, from ROOT/cpu_manager_state (cm/cpumanager/state). It
// is empty if the CPU manager does not hand out any, which it does under its
// policy static only, or has never run. A file that is none of kubelet's is
// [errdefs.ErrDataLoss].
func (p Paths) SharedCPUs() (string, error) {
	path := filepath.Join(p.Root, "cpu_manager_state")
	text, err := readState(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("state of the CPU manager: %w", err)
	}
	type state struct {
		PolicyName    string `json:"policyName"`
		DefaultCPUSet string `json:"defaultCpuSet"`
		// Data is the same as text, since version 4 of the file.
		Data string `json:"data"`
	}
	var s state
	err = json.Unmarshal(text, &s)
	if err == nil && s.Data != "" {
		err = json.Unmarshal([]byte(s.Data), &s)
	}
	if err != nil {
		return "", fmt.Errorf("state of the CPU manager in %s: %w: %w", path, err, errdefs.ErrDataLoss)
	}
	if s.PolicyName != "static" {
		return "", nil
	}
	if _, err := countCPUs(s.DefaultCPUSet); err != nil {
		return "", fmt.Errorf("state of the CPU manager in %s: %w: %w", path, err, errdefs.ErrDataLoss)
	}
	return s.DefaultCPUSet, nil
}

func readState(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0) // a FIFO must not block
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file: %w", path, errdefs.ErrFailedPrecondition)
	}
	return io.ReadAll(io.LimitReader(f, stateLimit))
}

// countCPUs counts a list of CPUs and ranges of them, as "0,2-5"
// (k8s.io/utils/cpuset:Parse).
func countCPUs(list string) (int64, error) {
	seen := make(map[int]bool)
	for part := range strings.SplitSeq(list, ",") {
		if part == "" && list == "" {
			return 0, nil
		}
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("CPUs %q: %w", list, err)
		}
		last, err := strconv.ParseUint(to, 10, 16)
		if err != nil || last < first {
			return 0, fmt.Errorf("CPUs %q: %q is no range", list, part)
		}
		for cpu := first; cpu <= last; cpu++ {
			seen[int(cpu)] = true
		}
	}
	return int64(len(seen)), nil
}

// Allocatable returns what of a node's capacity is left for pods: less what is
// reserved and what hard eviction keeps free, never below zero, and memory also
// less all huge pages (cm/node_container_manager_linux.go:
// GetNodeAllocatableReservation, nodestatus/setters.go:MachineInfo). It is what
// the downward API gives a container without a limit.
//
// [errdefs.ErrUnavailable] if kubelet's settings are not all known, and
// [errdefs.ErrInvalidArgument] if one cannot be parsed.
func (s Settings) Allocatable(capacity corev1.ResourceList) (corev1.ResourceList, error) {
	for name, known := range map[string]bool{
		"kubeReserved": s.KubeReserved.Known(), "systemReserved": s.SystemReserved.Known(),
		"evictionHard": s.EvictionHard.Known(), "reservedSystemCPUs": s.ReservedSystemCPUs.Known(),
	} {
		if !known {
			return nil, fmt.Errorf("allocatable resources of the node: kubelet's %s is not known: %w", name, errdefs.ErrUnavailable)
		}
	}
	reserved, err := s.reserved(capacity)
	if err != nil {
		return nil, fmt.Errorf("allocatable resources of the node: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	allocatable := make(corev1.ResourceList)
	for name, quantity := range capacity {
		allocatable[name] = less(quantity, reserved[name])
	}
	for name, quantity := range capacity {
		if strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) {
			allocatable[corev1.ResourceMemory] = less(allocatable[corev1.ResourceMemory], quantity)
		}
	}
	return allocatable, nil
}

func less(from, what resource.Quantity) resource.Quantity {
	left := from.DeepCopy()
	left.Sub(what)
	if left.Sign() < 0 {
		left.Set(0)
	}
	return left
}

func (s Settings) reserved(capacity corev1.ResourceList) (corev1.ResourceList, error) {
	sum := make(corev1.ResourceList)
	add := func(name corev1.ResourceName, quantity resource.Quantity) {
		total := sum[name]
		total.Add(quantity)
		sum[name] = total
	}
	cpus, err := countCPUs(s.ReservedSystemCPUs.Value)
	if err != nil {
		return nil, err
	}
	if cpus > 0 { // cmd/kubelet/app/server.go: "it will overwrite the cpu setting"
		add(corev1.ResourceCPU, *resource.NewQuantity(cpus, resource.DecimalSI))
	}
	for what, list := range map[string]map[string]string{"kubeReserved": s.KubeReserved.Value, "systemReserved": s.SystemReserved.Value} {
		for name, text := range list {
			if cpus > 0 && name == string(corev1.ResourceCPU) {
				continue
			}
			quantity, err := resource.ParseQuantity(text)
			if err != nil {
				return nil, fmt.Errorf("%s of %s %q: %w", what, name, text, err)
			}
			add(corev1.ResourceName(name), quantity)
		}
	}
	for signal, name := range map[string]corev1.ResourceName{
		"memory.available": corev1.ResourceMemory, "nodefs.available": corev1.ResourceEphemeralStorage,
	} {
		quantity, err := threshold(s.EvictionHard.Value[signal], capacity[name])
		if err != nil {
			return nil, fmt.Errorf("evictionHard of %s: %w", signal, err)
		}
		add(name, quantity)
	}
	return sum, nil
}

// threshold is a quantity, or a percentage of the capacity of which 0 and 100
// mean none (eviction/helpers.go:parseThresholdStatement; api:
// GetThresholdQuantity has the same precision).
func threshold(text string, capacity resource.Quantity) (resource.Quantity, error) {
	percent, isPercent := strings.CutSuffix(text, "%")
	switch {
	case text == "" || text == "0%" || text == "100%":
		return resource.Quantity{}, nil
	case !isPercent:
		return resource.ParseQuantity(text)
	}
	value, err := strconv.ParseFloat(percent, 32)
	if err != nil {
		return resource.Quantity{}, err
	}
	share := float64(float32(value) / 100)
	return *resource.NewQuantity(int64(float64(capacity.Value())*share), resource.BinarySI), nil
}
