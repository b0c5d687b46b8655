package runtime

import (
	"maps"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// HugepageLimit is how many bytes of pages of one size may be used.
type HugepageLimit struct {
	Size  string // such as 2MB
	Limit uint64
}

// Resources are what kubelet writes for an ephemeral container, which can have
// neither requests nor limits of its own, and the caps that the user asked for.
type Resources struct {
	CPUShares   int64
	CPUPeriod   int64 // microseconds; 0 where kubelet enforces no quotas
	CPUQuota    int64 // microseconds per period; 0 for none
	Memory      int64 // limit in bytes; 0 for none
	MemorySwap  int64 // limit of memory and swap together in bytes (cgroup v1); 0 for none
	OOMScoreAdj int64
	CPUs        string // the CPUs it may use, empty for all
	Hugepages   []HugepageLimit
	// Unified are cgroup v2 settings; nil on a node with cgroup v1.
	Unified map[string]string
	// PidsLimit is the cap on processes that the caller must write into the
	// cgroup, since the request cannot carry it (cgroup v1); 0 for none.
	PidsLimit int64
}

// The scores and shares of kubelet's qos and cm packages.
const (
	oomGuaranteed = -997
	oomBestEffort = 1000
	minShares     = 2
	maxShares     = 262144
	quotaPeriod   = 100000 // microseconds
	minQuota      = 1000   // microseconds
)

// planResources is kubelet's generateLinuxContainerResources for a container
// with neither requests nor limits, which takes the pod's own where those are
// set (PodLevelResources), and over it what the user asked for.
func planResources(f *Facts, caps Caps) Resources {
	r := Resources{CPUShares: minShares, CPUPeriod: quotaPeriod, OOMScoreAdj: f.oomScore(), CPUs: f.Node.SharedCPUs}
	sibling := f.sibling()
	if sibling != nil && sibling.CPUPeriod != nil {
		r.CPUPeriod = *sibling.CPUPeriod
	}
	limits := f.podLimits()
	cpu := limits.Cpu()
	r.Memory = limits.Memory().Value()
	r.CPUShares = shares(cpu.MilliValue())
	if r.CPUPeriod > 0 {
		r.CPUQuota = quota(cpu.MilliValue(), r.CPUPeriod)
	}
	sizes := f.Node.HugepageSizes
	if len(sizes) == 0 && sibling != nil {
		sizes = sibling.HugepageSizes
	}
	for _, size := range sizes {
		r.Hugepages = append(r.Hugepages, HugepageLimit{size, hugepageLimit(limits, size)})
	}
	r.Unified = planUnified(f)
	caps.apply(&r, f.Node.CgroupV2)
	if !f.Node.CgroupV2 && f.Node.SwapController {
		r.MemorySwap = r.Memory // no swap above the limit (ConfigureNoSwap)
	}
	return r
}

// podLimits are the limits of the pod as a whole; a missing one is 0.
func (f *Facts) podLimits() corev1.ResourceList {
	if f.Spec == nil || f.Spec.Spec.Resources == nil {
		return nil
	}
	return f.Spec.Spec.Resources.Limits
}

// shares is kubelet's MilliCPUToShares.
func shares(milli int64) int64 {
	return min(max(milli*1024/1000, minShares), maxShares)
}

// quota is kubelet's MilliCPUToQuota.
func quota(milli, period int64) int64 {
	if milli == 0 {
		return 0
	}
	return max(milli*period/1000, minQuota)
}

// hugepageLimit is the pod's own limit for pages of a size, which the node
// spells in the way of runc (2MB) and the API as hugepages-2Mi.
func hugepageLimit(limits corev1.ResourceList, size string) uint64 {
	for name, amount := range limits {
		text, ok := strings.CutPrefix(string(name), corev1.ResourceHugePagesPrefix)
		if !ok {
			continue
		}
		quantity, err := resource.ParseQuantity(text)
		if err == nil && quantity.Value() == hugepageBytes(size) {
			return uint64(amount.Value())
		}
	}
	return 0
}

// hugepageBytes reads 2MB as kubelet's HugePageUnitSizeFromByteSize writes it:
// powers of 1024 under the names of powers of 1000.
func hugepageBytes(size string) int64 {
	quantity, err := resource.ParseQuantity(strings.TrimSuffix(size, "B") + "i")
	if err != nil {
		return -1
	}
	return quantity.Value()
}

// planUnified are the cgroup v2 settings that kubelet 1.37 gives to every
// container without requests: those of the sibling are the proof of how this
// kubelet is set; without one they are the defaults. These rules were written
// from kubelet's source (generateLinuxContainerResources) and are unproven: no
// recorded request comes from a node with cgroup v2.
func planUnified(f *Facts) map[string]string {
	if !f.Node.CgroupV2 {
		return nil
	}
	out := map[string]string{"memory.oom.group": "1", "memory.min": "0", "memory.low": "0"}
	if f.Node.SwapController {
		out["memory.swap.max"] = "0"
	}
	sibling := f.sibling()
	if sibling == nil || sibling.Unified == nil {
		if f.Node.SingleProcessOOMKill {
			delete(out, "memory.oom.group")
		}
		if f.Node.NoMemoryQoS {
			delete(out, "memory.min")
			delete(out, "memory.low")
			out["memory.high"] = "max"
		}
		f.throttle(out)
		return out
	}
	for key := range out {
		if _, ok := sibling.Unified[key]; !ok {
			delete(out, key)
		}
	}
	// A sibling with a request is protected by it, ours is not; and what it has
	// under memory.high follows its own limits, unless it says that there is none.
	if sibling.Unified["memory.high"] == "max" {
		out["memory.high"] = "max"
	}
	// With MemoryQoS kubelet writes one of min and low, if that has a request.
	if _, low := sibling.Unified["memory.low"]; low || sibling.Unified["memory.min"] != "" {
		out["memory.min"], out["memory.low"] = "0", "0"
		f.throttle(out)
	}
	return out
}

// throttle sets memory.high where MemoryQoS has a throttling factor: a share of
// all that the node has for pods, unless the pod has a limit of its own.
func (f *Facts) throttle(unified map[string]string) {
	const page = 4096
	memory, known := f.Node.Allocatable[corev1.ResourceMemory]
	limits := f.podLimits()
	if f.Node.MemoryThrottling == 0 || f.Node.NoMemoryQoS || !known || !limits.Memory().IsZero() {
		return
	}
	if high := int64(float64(memory.Value())*f.Node.MemoryThrottling/page) * page; high > 0 {
		unified["memory.high"] = strconv.FormatInt(high, 10)
	}
}

// oomScore is kubelet's GetContainerOOMScoreAdjust for an ephemeral container,
// whose own requests are always zero.
func (f *Facts) oomScore() int64 {
	if f.nodeCritical() {
		return oomGuaranteed
	}
	switch f.qos() {
	case corev1.PodQOSGuaranteed:
		return oomGuaranteed
	case corev1.PodQOSBestEffort:
		return oomBestEffort
	}
	score := int64(1000)
	if share := f.memoryShare(); share > 0 && f.Node.Memory > 0 {
		score -= 1000 * share / f.Node.Memory
	}
	return min(max(score, 1000+oomGuaranteed), oomBestEffort-1)
}

// nodeCritical is kubelet's IsNodeCriticalPod.
func (f *Facts) nodeCritical() bool {
	if f.Spec == nil || f.Spec.Spec.PriorityClassName != "system-node-critical" {
		return false
	}
	const systemCriticalPriority = 2_000_000_000 // pkg/apis/scheduling
	priority := f.Spec.Spec.Priority
	return f.IsStatic() || priority != nil && *priority >= systemCriticalPriority
}

// IsStatic reports whether kubelet made the pod from a manifest on the node;
// the API server knows only its mirror, to which nothing can be added.
func (f *Facts) IsStatic() bool {
	source := f.Pod.Annotations["kubernetes.io/config.source"]
	return source != "" && source != "api"
}

// memoryShare is what is left of the pod's own memory request after its
// containers' requests, divided among them (remainingPodMemReqPerContainer).
func (f *Facts) memoryShare() int64 {
	if f.Spec == nil || f.Spec.Spec.Resources == nil {
		return 0
	}
	requested, ok := f.Spec.Spec.Resources.Requests[corev1.ResourceMemory]
	if !ok || requested.IsZero() {
		return 0
	}
	left := requested.Value() - containerMemory(&f.Spec.Spec)
	count := int64(len(f.Spec.Spec.Containers) + len(f.Spec.Spec.InitContainers))
	if left <= 0 || count == 0 {
		return 0
	}
	return left / count
}

// containerMemory is what the containers of the pod request together at the
// time when they request most (component-helpers' AggregateContainerRequests).
func containerMemory(spec *corev1.PodSpec) int64 {
	var running, peak int64
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		request := c.Resources.Requests.Memory().Value()
		peak = max(peak, running+request)
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			running += request
		}
	}
	for i := range spec.Containers {
		running += spec.Containers[i].Resources.Requests.Memory().Value()
	}
	return max(running, peak)
}

// qos is the pod's class: as kubelet says, else as the cgroup that it made for
// the pod does, else as the score of another container does.
func (f *Facts) qos() corev1.PodQOSClass {
	if f.Spec != nil && f.Spec.Status.QOSClass != "" {
		return f.Spec.Status.QOSClass
	}
	parent := f.Sandbox.CgroupParent
	switch {
	case strings.Contains(parent, "besteffort"):
		return corev1.PodQOSBestEffort
	case strings.Contains(parent, "burstable"):
		return corev1.PodQOSBurstable
	case strings.Contains(parent, "kubepods"):
		return corev1.PodQOSGuaranteed
	}
	sibling := f.sibling()
	if sibling == nil || sibling.OOMScoreAdj == nil {
		return corev1.PodQOSBestEffort
	}
	switch *sibling.OOMScoreAdj {
	case oomGuaranteed:
		return corev1.PodQOSGuaranteed
	case oomBestEffort:
		return corev1.PodQOSBestEffort
	}
	return corev1.PodQOSBurstable
}

// Caps bound what the debug container may use. The API has no field for them:
// they are Porthole's own. Zero is no cap.
type Caps struct {
	Memory   int64 // bytes
	MilliCPU int64 // thousandths of a CPU
	Pids     int64
	Storage  int64 // bytes of the writable layer and the log
	// OOMScoreAdj, if set, replaces kubelet's where it is higher, so that the
	// debugger dies before the application.
	OOMScoreAdj *int64
}

// apply lowers what kubelet would allow. A cap never lifts a limit of the pod.
func (c Caps) apply(r *Resources, v2 bool) {
	if c.Memory > 0 && (r.Memory == 0 || c.Memory < r.Memory) {
		r.Memory = c.Memory
	}
	if c.MilliCPU > 0 {
		period := r.CPUPeriod
		if period == 0 {
			period = quotaPeriod
		}
		if want := quota(c.MilliCPU, period); r.CPUQuota == 0 || want < r.CPUQuota {
			r.CPUPeriod, r.CPUQuota = period, want
		}
	}
	if c.OOMScoreAdj != nil {
		r.OOMScoreAdj = max(r.OOMScoreAdj, *c.OOMScoreAdj)
	}
	switch {
	case c.Pids > 0 && v2:
		r.Unified = maps.Clone(r.Unified)
		if r.Unified == nil {
			r.Unified = map[string]string{}
		}
		r.Unified["pids.max"] = strconv.FormatInt(c.Pids, 10)
	case c.Pids > 0:
		r.PidsLimit = c.Pids
	}
}
