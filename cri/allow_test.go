package cri

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/porthole-project/porthole/cri/critest"
	"github.com/porthole-project/porthole/runtime"
)

// allowed is every field of a container's configuration that a plan may lead
// to. Whoever can make another field be sent could be root on the node (devices
// by name, ambient capabilities, a raw seccomp path, …), so that a new one is a
// decision, made here.
var allowed = strings.Fields(`
	metadata.name image.image image.user_specified_image command args working_dir labels annotations log_path stdin stdin_once tty
	envs.key envs.value
	mounts.container_path mounts.host_path mounts.readonly mounts.selinux_relabel mounts.propagation mounts.recursive_read_only mounts.mount_options
	mounts.image.image mounts.image.user_specified_image mounts.image.annotations
	mounts.uidMappings.host_id mounts.uidMappings.length mounts.gidMappings.host_id mounts.gidMappings.length
	devices.container_path devices.host_path devices.permissions
	linux.resources.cpu_period linux.resources.cpu_quota linux.resources.cpu_shares linux.resources.cpuset_cpus linux.resources.oom_score_adj
	linux.resources.memory_limit_in_bytes linux.resources.memory_swap_limit_in_bytes linux.resources.hugepage_limits.page_size
	linux.resources.hugepage_limits.limit linux.resources.unified
	linux.security_context.capabilities.add_capabilities linux.security_context.capabilities.drop_capabilities linux.security_context.privileged
	linux.security_context.namespace_options.network linux.security_context.namespace_options.pid linux.security_context.namespace_options.ipc
	linux.security_context.namespace_options.target_id linux.security_context.namespace_options.userns_options.mode
	linux.security_context.namespace_options.userns_options.uids.host_id linux.security_context.namespace_options.userns_options.uids.length
	linux.security_context.namespace_options.userns_options.gids.host_id linux.security_context.namespace_options.userns_options.gids.length
	linux.security_context.selinux_options.level linux.security_context.selinux_options.type
	linux.security_context.run_as_user.value linux.security_context.run_as_username linux.security_context.run_as_group.value
	linux.security_context.readonly_rootfs linux.security_context.supplemental_groups linux.security_context.supplemental_groups_policy
	linux.security_context.no_new_privs linux.security_context.masked_paths linux.security_context.readonly_paths
	linux.security_context.seccomp.profile_type linux.security_context.seccomp.localhost_ref
	linux.security_context.apparmor.profile_type linux.security_context.apparmor.localhost_ref linux.security_context.apparmor_profile`)

// TestOnlyAllowedFields: no spec that is planned, in no recorded pod, leads to
// a field, label or annotation that the lists do not know; and the lists know
// none that nothing leads to.
func TestOnlyAllowedFields(t *testing.T) {
	seen := map[string]int{}
	planned := 0
	onBoth(t, func(t *testing.T, _ *critest.Server, c *Client) {
		for _, pod := range []string{"plain", "userns", "hostns", "sharepid", "hardened", "guaranteed"} {
			facts := factsOf(t, c, pod)
			for seed := range uint64(300) {
				r := rand.New(rand.NewPCG(seed, 11))
				f := *facts
				wealth(r, &f)
				plan, err := runtime.NewPlan(&f, anyRequest(r))
				if err != nil {
					continue
				}
				request, err := c.Request(plan)
				if err != nil {
					t.Fatal(err)
				}
				planned++
				walk(request.GetConfig().ProtoReflect(), "", func(path string) { seen[path]++ })
				checkNames(t, request.GetConfig().GetLabels(), request.GetConfig().GetAnnotations())
				if sandbox := proto.CloneOf(request.GetSandboxConfig()); !plan.Security.Privileged && !proto.Equal(sandbox, f.Native.(proto.Message)) {
					t.Fatalf("the sandbox's configuration is not the stored one: %v", sandbox)
				}
			}
		}
	})
	if planned < 1000 {
		t.Errorf("only %d specs were planned", planned)
	}
	for _, path := range slices.Sorted(maps.Keys(seen)) {
		if !slices.Contains(allowed, path) {
			t.Errorf("a plan leads to %s, which is not allowed", path)
		}
	}
	for _, path := range allowed {
		if seen[path] == 0 {
			t.Errorf("%s is allowed and was never seen", path)
		}
	}
}

func checkNames(t *testing.T, labels, annotations map[string]string) {
	t.Helper()
	for key := range labels {
		if !strings.HasPrefix(key, "porthole.dev/") && !slices.Contains([]string{runtime.LabelPodName, runtime.LabelPodNamespace, runtime.LabelPodUID, runtime.LabelContainerName}, key) {
			t.Fatalf("label %s", key)
		}
	}
	for key := range annotations {
		if !strings.HasPrefix(key, "io.kubernetes.container.") && key != "io.kubernetes.pod.terminationGracePeriod" && key != "io.kubernetes.pod.deletionGracePeriod" {
			t.Fatalf("annotation %s", key)
		}
	}
}

// walk names each field that is set, by its path; maps are one field.
func walk(m protoreflect.Message, prefix string, visit func(path string)) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		path := prefix + string(fd.Name())
		switch {
		case fd.IsMap() || fd.Kind() != protoreflect.MessageKind:
			visit(path)
		case fd.IsList():
			for i := range v.List().Len() {
				walk(v.List().Get(i).Message(), path+".", visit)
			}
		default:
			walk(v.Message(), path+".", visit)
		}
		return true
	})
}

// wealth adds what a node and a pod may have.
func wealth(r *rand.Rand, f *runtime.Facts) {
	yes := func() bool { return r.IntN(2) == 0 }
	f.Image = runtime.Image{ID: "sha256:0", Ref: "busybox"}
	if yes() {
		f.Image.Username = "web"
	}
	f.Node = runtime.Node{
		HugepageSizes: []string{"2MB"}, SELinux: yes(), CgroupV2: yes(), SwapController: yes(), Memory: 1 << 34, SeccompRoot: "/k/seccomp", RecursiveReadOnly: yes(),
	}
	f.Files.EtcHosts, f.Files.TerminationLog = "/k/etc-hosts", "/k/containers/x/0"
	f.Files.Volumes = map[string]runtime.Volume{"data": {HostPath: "/k/data", Relabel: true}}
	f.Files.Devices = map[string]runtime.Volume{"disk": {HostPath: "/k/disk"}}
	if f.Target != nil {
		target := *f.Target
		target.Mounts = append(slices.Clone(target.Mounts), runtime.Mount{ContainerPath: "/img", Image: &runtime.Image{ID: "sha256:1", Ref: "tools"}})
		f.Target = &target
	}
	if !yes() {
		return
	}
	f.Node.SharedCPUs = "0-1"
	f.Spec = &corev1.Pod{}
	f.Spec.Spec.Containers = []corev1.Container{{Name: "app"}}
	f.Spec.Spec.Volumes = []corev1.Volume{{Name: "data"}, {Name: "disk", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}}}}
	f.Spec.Spec.TerminationGracePeriodSeconds, f.Spec.DeletionGracePeriodSeconds = new(int64(2)), new(int64(1))
	strict := corev1.SupplementalGroupsPolicyStrict
	f.Spec.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: new(int64(3)), SupplementalGroupsPolicy: &strict}
	limits := corev1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("1Gi"), "hugepages-2Mi": resource.MustParse("2Mi")}
	f.Spec.Spec.Resources = &corev1.ResourceRequirements{Limits: limits}
}

// anyRequest has of everything, forbidden things included.
func anyRequest(r *rand.Rand) runtime.Request {
	yes := func() bool { return r.IntN(2) == 0 }
	rarely := func() bool { return r.IntN(12) == 0 }
	req := runtime.Request{Mark: runtime.Mark{Session: "s1", Owner: "jane"}, CopyEnv: yes()}
	req.Share = []runtime.Sharing{runtime.ShareNothing, runtime.ShareAsIs, runtime.ShareReadOnly}[r.IntN(3)]
	req.Caps = runtime.Caps{Memory: int64(r.IntN(2)) << 26, Pids: int64(r.IntN(3)), MilliCPU: int64(r.IntN(2)) * 500}
	if yes() {
		req.Username = "nobody"
	}
	s := &req.Spec
	s.Name, s.Image = "porthole-x", "busybox"
	s.Command, s.Args, s.WorkingDir = []string{"sh"}, []string{"-c"}, "/tmp"
	s.Stdin, s.StdinOnce, s.TTY = yes(), yes(), yes()
	s.Env = []corev1.EnvVar{{Name: "A", Value: "1"}}
	if yes() {
		propagation := corev1.MountPropagationHostToContainer
		s.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data", MountPropagation: &propagation, BindMountOptions: []string{"noexec"}}}
	} else {
		recursive := corev1.RecursiveReadOnlyIfPossible
		s.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data", ReadOnly: true, RecursiveReadOnly: &recursive}}
	}
	if yes() {
		s.VolumeDevices = []corev1.VolumeDevice{{Name: "disk", DevicePath: "/dev/xvdb"}}
	}
	local := "a.json"
	sc := &corev1.SecurityContext{
		RunAsGroup: new(int64(7)), ReadOnlyRootFilesystem: new(yes()), SELinuxOptions: &corev1.SELinuxOptions{Type: "spc_t", Level: "s0"},
		Capabilities:    &corev1.Capabilities{Add: []corev1.Capability{"SYS_PTRACE"}, Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:  &corev1.SeccompProfile{Type: "Localhost", LocalhostProfile: &local},
		AppArmorProfile: &corev1.AppArmorProfile{Type: "Localhost", LocalhostProfile: &local},
	}
	if yes() {
		sc.RunAsUser = new(int64(r.IntN(2)))
	}
	if yes() {
		sc.Privileged = new(true)
	} else {
		sc.AllowPrivilegeEscalation = new(false)
	}
	s.SecurityContext = sc
	if rarely() {
		s.Ports = []corev1.ContainerPort{{ContainerPort: 80}}
	}
	if rarely() {
		s.Lifecycle = &corev1.Lifecycle{}
	}
	if rarely() {
		s.Resources.Claims = []corev1.ResourceClaim{{Name: "gpu"}}
	}
	if rarely() {
		sc.WindowsOptions = &corev1.WindowsSecurityContextOptions{GMSACredentialSpec: &local}
	}
	return req
}
