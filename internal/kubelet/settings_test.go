package kubelet

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// show gives a setting as `VALUE of SOURCE`, or ? if it is not known.
func show[T any](s Setting[T]) string {
	if !s.Known() {
		return "?"
	}
	return fmt.Sprintf("%v of %s", s.Value, strings.TrimPrefix(s.Source.String(), "process: kubelet 7, "))
}

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "config.yaml")
	write(t, full, `seccompDefault: true
singleProcessOOMKill: true
memoryThrottlingFactor: 0.9
featureGates: {MemoryQoS: false, A: true}
memorySwap: {swapBehavior: LimitedSwap}
kubeReserved: {cpu: 100m}
reservedSystemCPUs: "0-1"
`)
	bare := filepath.Join(dir, "bare.yaml")
	write(t, bare, "kind: KubeletConfiguration\nevictionHard: {memory.available: 1Gi}\nmergeDefaultEvictionSettings: true\n")
	evictionDefault := "map[imagefs.available:15% imagefs.inodesFree:5% memory.available:100Mi nodefs.available:10% nodefs.inodesFree:5%]"
	for name, tc := range map[string]struct {
		fake fake
		want map[string]string
	}{
		"nothing": {fake{}, map[string]string{"seccomp": "false of built-in default", "oom": "false of built-in default", "swap": "NoSwap of built-in default",
			"factor": "0 of built-in default", "gates": "map[] of feature gates", "reserved": "map[] of built-in default", "eviction": "map[] of built-in default",
			"config": " of built-in default", "ip": " of built-in default", "cpus": " of built-in default", "cwd": "/work dir of working directory"}},
		"file": {fake{argv: []string{"--config", full}}, map[string]string{"seccomp": "true of seccompDefault in " + full, "oom": "true of singleProcessOOMKill in " + full,
			"swap": "LimitedSwap of memorySwap in " + full, "factor": "0.9 of memoryThrottlingFactor in " + full, "gates": "map[A:true MemoryQoS:false] of feature gates",
			"reserved": "map[cpu:100m] of kubeReserved in " + full, "eviction": evictionDefault + " of evictionHard in the built-in defaults", "cpus": "0-1 of reservedSystemCPUs in " + full}},
		"merged eviction": {fake{argv: []string{"--config", bare}}, map[string]string{
			"eviction": strings.Replace(evictionDefault, "100Mi", "1Gi", 1) + " of evictionHard in " + bare}},
		"flags win": {fake{argv: []string{"--config", full, "--seccomp-default=false", "--kube-reserved=cpu=1,memory=1Gi", "--kube_reserved", "memory=2Gi", "--eviction-hard=memory.available<5%",
			"--feature-gates=MemoryQoS=true", "--reserved-cpus=3", "--hostname-override= Node1 ", "--node-ip=::", "--image-credential-provider-config=/c", "--image-credential-provider-bin-dir", "bin"}},
			map[string]string{"seccomp": "false of flag --seccomp-default", "reserved": "map[cpu:1 memory:2Gi] of flag --kube-reserved",
				"eviction": "map[memory.available:5%] of flag --eviction-hard", "gates": "map[A:true MemoryQoS:true] of feature gates", "cpus": "3 of flag --reserved-cpus",
				"node": "node1 of flag --hostname-override", "ip": ":: of flag --node-ip", "config": "/c of flag --image-credential-provider-config", "bin": "/work dir/bin of flag --image-credential-provider-bin-dir"}},
		"bare flag":  {fake{argv: []string{"--seccomp-default", "--v=2"}}, map[string]string{"seccomp": "true of flag --seccomp-default"}},
		"unreadable": {fake{argv: []string{"--config=/none", "--kube-reserved=cpu=1"}}, map[string]string{"seccomp": "?", "swap": "?", "gates": "?", "eviction": "?", "reserved": "map[cpu:1] of flag --kube-reserved"}},
		"malformed":  {fake{argv: []string{"--kube-reserved=cpu", "--feature-gates=x"}}, map[string]string{"reserved": "?", "gates": "?"}},
		"far": {fake{argv: []string{"--config=" + full, "--image-credential-provider-config=/c"}, mnt: initMounts},
			map[string]string{"seccomp": "?", "config": "?", "cwd": "?", "home": "?"}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.fake.pid, tc.fake.argv = 7, append([]string{"kubelet"}, tc.fake.argv...)
			s := fromProcesses(fakeProc(t, tc.fake)).settings
			got := map[string]string{"seccomp": show(s.SeccompDefault), "oom": show(s.SingleProcessOOMKill), "swap": show(s.SwapBehavior), "factor": show(s.MemoryThrottlingFactor),
				"gates": show(s.FeatureGates), "reserved": show(s.KubeReserved), "eviction": show(s.EvictionHard), "cpus": show(s.ReservedSystemCPUs), "node": show(s.NodeName),
				"ip": show(s.NodeIP), "config": show(s.CredentialProviderConfig), "bin": show(s.CredentialProviderBinDir), "cwd": show(s.WorkingDir), "home": show(s.Home)}
			for key, want := range tc.want {
				if got[key] != want {
					t.Errorf("%s: got %q, want %q", key, got[key], want)
				}
			}
		})
	}
}

// TestSettingsElsewhere: k3s hides what it was given, and without a kubelet
// only the node's name is told.
func TestSettingsElsewhere(t *testing.T) {
	s := fromProcesses(fakeProc(t, fake{pid: 7, argv: []string{"k3s", "agent", "--node-name=N", "--kubelet-arg=seccomp-default", "--kubelet-arg=node-ip=1.2.3.4"}})).settings
	if !s.SeccompDefault.Value || s.NodeName.Value != "n" || s.NodeIP.Value != "1.2.3.4" || s.SwapBehavior.Known() || s.EvictionHard.Known() || s.KubeReserved.Known() {
		t.Errorf("k3s: %+v", s)
	}
	p, err := Discover(Options{Proc: fakeProc(t)})
	must(t, err)
	host, _ := os.Hostname()
	if s := p.Settings; s.NodeName.Value != strings.ToLower(host) || s.NodeName.Source.From != Default || s.SeccompDefault.Known() || s.NodeIP.Known() {
		t.Errorf("none: %+v", s)
	}
}

// TestDropIns follows the merge of RFC 7396, in the files' lexical order.
func TestDropIns(t *testing.T) {
	dir := t.TempDir()
	main, ins := filepath.Join(dir, "main.yaml"), filepath.Join(dir, "conf.d")
	write(t, main, "staticPodPath: m\npodLogsDir: /logs\nseccompDefault: true\nkubeReserved: {cpu: 100m, memory: 1Gi}\n")
	write(t, filepath.Join(ins, "20-b.conf"), "apiVersion: kubelet.config.k8s.io/v1beta1\nseccompDefault: false\nstaticPodPath: p\npodLogsDir: null\n")
	write(t, filepath.Join(ins, "10/a.conf"), "seccompDefault: true\nkubeReserved: {cpu: 200m}\nevictionHard: {memory.available: 1Gi}\n")
	write(t, filepath.Join(ins, "30.yaml"), "seccompDefault: true\n")
	argv := []string{"kubelet", "--config=" + main, "--config-dir=" + ins}
	f := fromProcesses(fakeProc(t, fake{pid: 7, argv: argv}))
	if got, want := show(f.settings.SeccompDefault), "false of seccompDefault in "+ins+"/20-b.conf"; got != want {
		t.Errorf("seccompDefault: %s, want %s", got, want)
	}
	if got, want := f.settings.KubeReserved.Value, (map[string]string{"cpu": "200m", "memory": "1Gi"}); !maps.Equal(got, want) {
		t.Errorf("kubeReserved: %v, want %v", got, want)
	}
	if e := f.settings.EvictionHard.Value; e["memory.available"] != "1Gi" || e["nodefs.available"] != "10%" {
		t.Errorf("evictionHard: %v", e)
	}
	if f.manifests.path != "/work dir/p" || f.podLogs.path != builtinPodLogs || len(f.notes) != 0 {
		t.Errorf("got %+v", f)
	}
	write(t, filepath.Join(ins, "40.conf"), "[")
	f = fromProcesses(fakeProc(t, fake{pid: 7, argv: argv}))
	if f.settings.SeccompDefault.Known() || len(f.notes) != 1 || !strings.Contains(f.notes[0], "drop-ins") {
		t.Errorf("malformed: %+v", f)
	}
}

func TestSharedCPUs(t *testing.T) {
	for name, tc := range map[string]struct {
		text, want string
		bad        bool
	}{
		"static":  {`{"policyName":"static","defaultCpuSet":"0,2-5","entries":{},"checksum":1}`, "0,2-5", false},
		"v4":      {`{"policyName":"static","defaultCpuSet":"0","data":"{\"policyName\":\"static\",\"defaultCpuSet\":\"1-3\"}","dataChecksum":1}`, "1-3", false},
		"none":    {`{"policyName":"none","defaultCpuSet":"","checksum":1}`, "", false},
		"garbage": {"x", "", true},
		"no list": {`{"policyName":"static","defaultCpuSet":"0;rm"}`, "", true},
		"no data": {`{"policyName":"static","data":"x"}`, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, filepath.Join(root, "cpu_manager_state"), tc.text)
			got, err := Paths{Root: root}.SharedCPUs()
			if got != tc.want || errdefs.IsDataLoss(err) != tc.bad {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	if got, err := (Paths{Root: t.TempDir()}).SharedCPUs(); got != "" || err != nil {
		t.Errorf("no file: %q, %v", got, err)
	}
}

func TestCountCPUs(t *testing.T) {
	for list, want := range map[string]int64{"": 0, "0": 1, "0-3": 4, "0,2-3,3": 3, "1-0": -1, "x": -1, "0,": -1, "-1": -1, "0-99999": -1} {
		if got, err := countCPUs(list); err == nil && got != want || err != nil && want >= 0 {
			t.Errorf("%q: %d, %v, want %d", list, got, err, want)
		}
	}
}

func TestAllocatable(t *testing.T) {
	told := Source{Process, "x"}
	list := func(pairs ...string) corev1.ResourceList {
		l := make(corev1.ResourceList)
		for i := 0; i < len(pairs); i += 2 {
			l[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
		}
		return l
	}
	type strs = map[string]string
	for name, tc := range map[string]struct {
		kube, system, eviction strs
		cpus                   string
		capacity, want         corev1.ResourceList
	}{
		"nothing":    {nil, nil, nil, "", list("cpu", "2", "memory", "4Gi"), list("cpu", "2", "memory", "4Gi")},
		"all":        {strs{"cpu": "100m", "memory": "1Gi"}, strs{"cpu": "200m"}, strs{"memory.available": "100Mi"}, "", list("cpu", "2", "memory", "4Gi"), list("cpu", "1700m", "memory", "2972Mi")},
		"percent":    {nil, nil, strs{"nodefs.available": "10%", "memory.available": "0%"}, "", list("memory", "1Gi", "ephemeral-storage", "1000"), list("memory", "1Gi", "ephemeral-storage", "900")},
		"huge pages": {nil, nil, nil, "", list("memory", "4Gi", "hugepages-2Mi", "1Gi"), list("memory", "3Gi", "hugepages-2Mi", "1Gi")},
		"CPUs":       {strs{"cpu": "7"}, strs{"cpu": "1", "memory": "1Gi"}, nil, "0,2-3", list("cpu", "8", "memory", "2Gi"), list("cpu", "5", "memory", "1Gi")},
		"too much":   {strs{"cpu": "7", "pid": "100"}, nil, nil, "", list("cpu", "1"), list("cpu", "0")},
		"malformed":  {strs{"cpu": "x"}, nil, nil, "", list("cpu", "1"), nil},
		"eviction":   {nil, nil, strs{"memory.available": "x%"}, "", list("memory", "1"), nil},
		"bad CPUs":   {nil, nil, nil, "x", list("cpu", "1"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := Settings{KubeReserved: Setting[strs]{tc.kube, told}, SystemReserved: Setting[strs]{tc.system, told},
				EvictionHard: Setting[strs]{tc.eviction, told}, ReservedSystemCPUs: Setting[string]{tc.cpus, told}}
			got, err := s.Allocatable(tc.capacity)
			if tc.want == nil {
				if !errdefs.IsInvalidArgument(err) {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if err != nil || !maps.EqualFunc(got, tc.want, func(a, b resource.Quantity) bool { return a.Cmp(b) == 0 }) {
				t.Errorf("got %v, %v, want %v", got, err, tc.want)
			}
		})
	}
	if _, err := (Settings{}).Allocatable(list("cpu", "1")); !errdefs.IsUnavailable(err) {
		t.Errorf("nothing known: %v", err)
	}
}

func TestHomeIn(t *testing.T) {
	for environ, want := range map[string]string{"": "", "A=1\x00HOME=/root\x00B=2\x00": "/root", "XHOME=/x\x00": "", "HOME=\x00": ""} {
		if got := homeIn(environ); got != want {
			t.Errorf("%q: %q, want %q", environ, got, want)
		}
	}
}
