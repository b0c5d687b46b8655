package runtime

import (
	"maps"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func list(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

// podWith is a pod with these limits of its own.
func podWith(limits corev1.ResourceList) *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{Resources: &corev1.ResourceRequirements{Limits: limits}}}
}

func TestOOMScore(t *testing.T) {
	for _, c := range []struct {
		parent string
		target *Target
		want   int64
	}{
		{"/kubepods/podu1", nil, -997},
		{"/kubepods/burstable/podu1", nil, 999},
		{"/kubepods/besteffort/podu1", nil, 1000},
		{"kubepods-besteffort-podu1.slice", nil, 1000},
		{"kubepods-burstable-podu1.slice", nil, 999},
		{"kubepods-podu1.slice", nil, -997},
		{"/kubepods/podu1", &Target{OOMScoreAdj: num(1000)}, -997}, // the cgroup speaks for the pod
		{"/mine", &Target{OOMScoreAdj: num(-997)}, -997},
		{"/mine", &Target{OOMScoreAdj: num(1000)}, 1000},
		{"/mine", &Target{OOMScoreAdj: num(850)}, 999},
		{"", &Target{}, 1000},
		{"", nil, 1000},
	} {
		f := &Facts{Sandbox: Sandbox{CgroupParent: c.parent}, Target: c.target}
		if got := f.oomScore(); got != c.want {
			t.Errorf("%q with %+v: %d, want %d", c.parent, c.target, got, c.want)
		}
	}
}

func TestOOMScoreOfTheSpec(t *testing.T) {
	const node = 16 << 30
	priority := int32(2_000_001_000)
	always := corev1.ContainerRestartPolicyAlways
	requests := func(memory string) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Requests: list("memory", memory)}
	}
	for what, c := range map[string]struct {
		change func(*corev1.Pod)
		want   int64
	}{
		"kubelet's class":           {func(p *corev1.Pod) { p.Status.QOSClass = corev1.PodQOSGuaranteed }, -997},
		"burstable":                 {func(p *corev1.Pod) { p.Status.QOSClass = corev1.PodQOSBurstable }, 999},
		"node critical":             {func(p *corev1.Pod) { p.Spec.PriorityClassName, p.Spec.Priority = "system-node-critical", &priority }, -997},
		"node critical by its name": {func(p *corev1.Pod) { p.Spec.PriorityClassName = "system-node-critical" }, 999},
		// 8 GiB, less 2 GiB of the containers, for four of them: 1.5 of 16.
		"the pod's request": {func(p *corev1.Pod) {
			p.Spec.Resources = &corev1.ResourceRequirements{Requests: list("memory", "8Gi")}
			p.Spec.Containers = []corev1.Container{{Resources: requests("1Gi")}, {}}
			p.Spec.InitContainers = []corev1.Container{{Resources: requests("1Gi"), RestartPolicy: &always}, {}}
		}, 907},
		// The init container's peak counts where it is more than what runs later.
		"an init container's peak": {func(p *corev1.Pod) {
			p.Spec.Resources = &corev1.ResourceRequirements{Requests: list("memory", "8Gi")}
			p.Spec.Containers = []corev1.Container{{Resources: requests("1Gi")}}
			p.Spec.InitContainers = []corev1.Container{{Resources: requests("6Gi")}}
		}, 938},
		"a request as large as the node": {func(p *corev1.Pod) {
			p.Spec.Resources = &corev1.ResourceRequirements{Requests: list("memory", "16Gi")}
			p.Spec.Containers = []corev1.Container{{}}
		}, 3},
	} {
		f := &Facts{Sandbox: Sandbox{CgroupParent: "/kubepods/burstable/podu1"}, Node: Node{Memory: node}, Spec: &corev1.Pod{}}
		c.change(f.Spec)
		if got := f.oomScore(); got != c.want {
			t.Errorf("%s: %d, want %d", what, got, c.want)
		}
	}
}

// TestPodLevelResources: a container without limits has those of the pod.
func TestPodLevelResources(t *testing.T) {
	f := &Facts{
		Spec: podWith(list("cpu", "1500m", "memory", "1Gi", "hugepages-2Mi", "4Mi")),
		Node: Node{HugepageSizes: []string{"2MB", "1GB"}, SharedCPUs: "2-3"},
	}
	want := Resources{
		CPUShares: 1536, CPUPeriod: 100000, CPUQuota: 150000, Memory: 1 << 30, OOMScoreAdj: 1000, CPUs: "2-3",
		Hugepages: []HugepageLimit{{"2MB", 4 << 20}, {"1GB", 0}},
	}
	if got := planResources(f, Caps{}); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	f.Spec = podWith(list("cpu", "1m"))
	if got := planResources(f, Caps{}); got.CPUQuota != 1000 || got.CPUShares != 2 {
		t.Errorf("the least: %+v", got)
	}
	f.Spec, f.Node.SwapController = podWith(list("memory", "1Gi")), true
	if got := planResources(f, Caps{Memory: 64 << 20}); got.MemorySwap != 64<<20 {
		t.Errorf("on cgroup v1 memory and swap have one limit: %+v", got)
	}
	f.Spec = podWith(list("cpu", "1m"))
	none := int64(0)
	f.Target = &Target{CPUPeriod: &none}
	if got := planResources(f, Caps{}); got.CPUQuota != 0 || got.CPUPeriod != 0 {
		t.Errorf("with a kubelet that enforces no quotas: %+v", got)
	}
}

func TestHugepages(t *testing.T) {
	f := goodFacts()
	f.Target.HugepageSizes = []string{"1GB"}
	if got := mustPlan(t, f, goodRequest()).Resources.Hugepages; !reflect.DeepEqual(got, []HugepageLimit{{Size: "1GB"}}) {
		t.Errorf("of the target, where the node's are not known: %v", got)
	}
	f.Node.HugepageSizes = []string{"2MB"}
	if got := mustPlan(t, f, goodRequest()).Resources.Hugepages; !reflect.DeepEqual(got, []HugepageLimit{{Size: "2MB"}}) {
		t.Errorf("the node's: %v", got)
	}
}

// TestUnified holds the hand-written rules for cgroup v2; they are unproven.
func TestUnified(t *testing.T) {
	all := map[string]string{"memory.oom.group": "1", "memory.min": "0", "memory.low": "0", "memory.swap.max": "0"}
	without := func(keys ...string) map[string]string {
		m := maps.Clone(all)
		for _, key := range keys {
			delete(m, key)
		}
		return m
	}
	for what, c := range map[string]struct {
		v2, swap bool
		sibling  map[string]string
		want     map[string]string
	}{
		"cgroup v1":                       {false, true, nil, nil},
		"kubelet's defaults":              {true, true, nil, all},
		"no swap controller":              {true, false, nil, without("memory.swap.max")},
		"singleProcessOOMKill":            {true, true, map[string]string{"memory.min": "0", "memory.low": "0", "memory.swap.max": "0"}, without("memory.oom.group")},
		"a sibling with a request":        {true, true, map[string]string{"memory.oom.group": "1", "memory.low": "1048576", "memory.swap.max": "4096", "memory.high": "99"}, all},
		"MemoryQoS off":                   {true, true, map[string]string{"memory.oom.group": "1", "memory.swap.max": "0", "memory.high": "max"}, map[string]string{"memory.oom.group": "1", "memory.swap.max": "0", "memory.high": "max"}},
		"an older kubelet sends one only": {true, true, map[string]string{"memory.oom.group": "1"}, map[string]string{"memory.oom.group": "1"}},
	} {
		f := &Facts{Node: Node{CgroupV2: c.v2, SwapController: c.swap}, Target: &Target{Unified: c.sibling}}
		if got := planUnified(f); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}

// Without a container to see it by, kubelet's own settings say.
func TestUnifiedBySettings(t *testing.T) {
	f := &Facts{Node: Node{CgroupV2: true, SingleProcessOOMKill: true, NoMemoryQoS: true}}
	if got := planUnified(f); !maps.Equal(got, map[string]string{"memory.high": "max"}) {
		t.Errorf("%v", got)
	}
	f.Node = Node{CgroupV2: true, MemoryThrottling: 0.9, Allocatable: list("memory", "1Gi")}
	if got := planUnified(f)["memory.high"]; got != "966365184" {
		t.Errorf("throttled at %q", got)
	}
	f.Spec = podWith(list("memory", "1Mi"))
	if got, ok := planUnified(f)["memory.high"]; ok {
		t.Errorf("a pod with a limit of its own: %q", got)
	}
}

// TestCaps: what the user asks for lowers what kubelet allows and never lifts it.
func TestCaps(t *testing.T) {
	limited := podWith(list("cpu", "1", "memory", "1Gi"))
	for what, c := range map[string]struct {
		pod  *corev1.Pod
		v2   bool
		caps Caps
		same func(r Resources) bool
	}{
		"memory":                        {nil, false, Caps{Memory: 64 << 20}, func(r Resources) bool { return r.Memory == 64<<20 }},
		"memory below the pod's":        {limited, false, Caps{Memory: 64 << 20}, func(r Resources) bool { return r.Memory == 64<<20 }},
		"memory above the pod's":        {limited, false, Caps{Memory: 2 << 30}, func(r Resources) bool { return r.Memory == 1<<30 }},
		"cpus":                          {nil, false, Caps{MilliCPU: 250}, func(r Resources) bool { return r.CPUQuota == 25000 && r.CPUPeriod == 100000 && r.CPUShares == 2 }},
		"cpus above the pod's":          {limited, false, Caps{MilliCPU: 4000}, func(r Resources) bool { return r.CPUQuota == 100000 }},
		"pids on v1":                    {nil, false, Caps{Pids: 20}, func(r Resources) bool { return r.PidsLimit == 20 && r.Unified == nil }},
		"pids on v2":                    {nil, true, Caps{Pids: 20}, func(r Resources) bool { return r.PidsLimit == 0 && r.Unified["pids.max"] == "20" }},
		"dies first":                    {nil, false, Caps{OOMScoreAdj: num(1000)}, func(r Resources) bool { return r.OOMScoreAdj == 1000 }},
		"would die later than it must":  {nil, false, Caps{OOMScoreAdj: num(-1000)}, func(r Resources) bool { return r.OOMScoreAdj == 999 }},
		"none: the same as without any": {nil, false, Caps{}, func(r Resources) bool { return r.Memory == 0 && r.CPUQuota == 0 && r.OOMScoreAdj == 999 }},
	} {
		f := &Facts{Spec: c.pod, Sandbox: Sandbox{CgroupParent: "/kubepods/burstable/podu1"}, Node: Node{CgroupV2: c.v2}}
		if got := planResources(f, c.caps); !c.same(got) {
			t.Errorf("%s: %+v", what, got)
		}
	}
}
