package ephemeral

import (
	"math/rand/v2"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// A change is one thing about a container that the API has an opinion on.
type change func(*corev1.EphemeralContainer)

// changes are all those that the oracle is asked about, one by one and combined.
func changes() []change {
	var all []change
	for _, name := range []string{"", "app", "init", "old", "Debug", "a.b", "-a", "a_b", "é", "a\n", strings.Repeat("a", 63), strings.Repeat("a", 64)} {
		all = append(all, func(s *corev1.EphemeralContainer) { s.Name = name })
	}
	for _, target := range []string{"app", "init", "old", "nobody"} {
		all = append(all, func(s *corev1.EphemeralContainer) { s.TargetContainerName = target })
	}
	for _, image := range images() {
		all = append(all, func(s *corev1.EphemeralContainer) { s.Image = image })
	}
	for _, policy := range []corev1.PullPolicy{"Always", "IfNotPresent", "Never", "always", "Never "} {
		all = append(all, func(s *corev1.EphemeralContainer) { s.ImagePullPolicy = policy })
	}
	for _, policy := range []corev1.TerminationMessagePolicy{"File", "FallbackToLogsOnError", "file"} {
		all = append(all, func(s *corev1.EphemeralContainer) { s.TerminationMessagePolicy = policy })
	}
	for _, text := range []string{"", "a b", "$(A)", "é\n", "/proc/self"} {
		all = append(all, func(s *corev1.EphemeralContainer) {
			s.Command, s.Args, s.WorkingDir, s.TerminationMessagePath = []string{text}, []string{text, "x"}, text, text
			s.Stdin, s.StdinOnce, s.TTY = true, text == "", len(text) > 3
		})
	}
	for _, v := range variables() {
		all = append(all, func(s *corev1.EphemeralContainer) { s.Env = append(s.Env, v) })
	}
	for _, from := range sources() {
		all = append(all, func(s *corev1.EphemeralContainer) { s.EnvFrom = append(s.EnvFrom, from) })
	}
	for _, m := range mounts() {
		all = append(all, func(s *corev1.EphemeralContainer) { s.VolumeMounts = append(s.VolumeMounts, m) })
	}
	for _, d := range devices() {
		all = append(all, func(s *corev1.EphemeralContainer) { s.VolumeDevices = append(s.VolumeDevices, d) })
	}
	all = append(all, securityChanges()...)
	all = append(all, clashes()...)
	return append(all, forbiddenChanges()...)
}

// images are for the default pull policy as well, which parses them.
func images() []string {
	sum := strings.Repeat("0a", 32)
	return []string{
		"", " ", "a ", "\ta", "busybox", "busybox:1", "busybox:latest", "busybox:Latest", "busybox@sha256:" + sum, "busybox:latest@sha256:" + sum,
		"busybox:1@sha256:" + sum, "busybox:latest@sha256:" + sum[:32], "busybox@sha256:" + strings.ToUpper(sum), "busybox:latest@sha512:" + sum + sum,
		"busybox:latest@sha384:" + sum, "busybox:latest@md5:" + sum, sum, sum[:63], sum + "0", "sha256:" + sum, "sha256:latest", "Busybox", "Reg/busybox", "a/Busybox",
		"localhost:5000/a", "localhost:5000", "r.example:5000/a:latest", "r.example:5000/a:2", "[::1]:5000/a", "[::1]/a:latest", "a..b/c", "a-/c",
		"-a/c", "a.b_c/d", "a__b", "a___b", "a/", "/a", "a//b", "a:", "a@", "a:latest:1", "docker.io/latest", "docker.io/library/a:latest", "ü", "a b",
		strings.Repeat("a/", 120) + "a", "a:" + strings.Repeat("t", 129), "http://a/b", "r.example/a:latest@sha256:" + sum,
	}
}

func variables() []corev1.EnvVar {
	var all []corev1.EnvVar
	for _, name := range []string{"", "A", "A", "a.b-c d", "a=b", "é", "1A", "..", " ", "a\n", "~", "a\x7f"} {
		all = append(all, corev1.EnvVar{Name: name, Value: "=$(A)"})
	}
	from := func(f corev1.EnvVarSource) { all = append(all, corev1.EnvVar{Name: "F", ValueFrom: &f}) }
	for _, path := range []string{
		"", "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.host", "spec.serviceAccountName", "status.hostIP", "status.hostIPs",
		"status.podIP", "status.podIPs", "metadata.labels", "metadata.annotations", "spec.restartPolicy", "spec.schedulerName", "status.phase",
		"metadata.labels['a']", "metadata.labels['A/b']", "metadata.labels['']", "metadata.labels['a b']", "metadata.annotations['A.b/C']",
		"metadata.annotations['é']", "metadata.annotations['a['']b']", "metadata.name['a']", "['a']", "metadata.labels['a'", "a']", "nothing", "metadata.labels[a]",
	} {
		from(corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}})
	}
	from(corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v2", FieldPath: "metadata.name"}})
	from(corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}})
	for _, name := range []string{"", "limits.cpu", "requests.memory", "limits.ephemeral-storage", "limits.hugepages-2Mi", "requests.hugepages-", "limits.gpu", "hugepages-2Mi", "x.cpu", "cpu"} {
		for _, divisor := range []string{"0", "1", "1m", "1Ki", "-1"} {
			from(corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: name, ContainerName: "app", Divisor: resource.MustParse(divisor)}})
		}
	}
	for _, name := range []string{"", "a", "a.b", "A", "a-", "é"} {
		ref := corev1.LocalObjectReference{Name: name}
		from(corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: ref, Key: "k.e_Y-1"}})
		from(corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref, Key: "k", Optional: new(true)}})
	}
	for _, key := range []string{"", "a b", "..", "..a", "é", strings.Repeat("k", 254)} {
		ref := corev1.LocalObjectReference{Name: "a"}
		from(corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: ref, Key: key}})
		from(corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref, Key: key}})
	}
	for _, f := range []corev1.FileKeySelector{
		{}, {VolumeName: "data", Path: "a/b.env", Key: "K"}, {VolumeName: "config", Path: "a", Key: "K=1"}, {VolumeName: "nothing", Path: "a/../b", Key: "é"},
		{VolumeName: "A", Path: "..", Key: "K"}, {VolumeName: "data", Path: "/a", Key: "K", Optional: new(true)},
	} {
		from(corev1.EnvVarSource{FileKeyRef: &f})
	}
	field := &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}
	secret := &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "a"}, Key: "k"}
	from(corev1.EnvVarSource{})
	from(corev1.EnvVarSource{FieldRef: field, SecretKeyRef: secret})
	return append(all, corev1.EnvVar{Name: "V", Value: "v", ValueFrom: &corev1.EnvVarSource{FieldRef: field}},
		corev1.EnvVar{Name: "V", Value: "v", ValueFrom: &corev1.EnvVarSource{FieldRef: field, SecretKeyRef: secret}}, corev1.EnvVar{Name: "V", Value: "v", ValueFrom: &corev1.EnvVarSource{}})
}

func sources() []corev1.EnvFromSource {
	all := []corev1.EnvFromSource{{}, {Prefix: "a=b"}}
	for _, name := range []string{"", "a", "a.b", "A", "a-", "-", "a.-", "é-", "a-b-"} {
		ref := corev1.LocalObjectReference{Name: name}
		all = append(all,
			corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref}, Prefix: "P_"},
			corev1.EnvFromSource{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref, Optional: new(true)}},
			corev1.EnvFromSource{Prefix: "é", SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}, ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref}})
	}
	return all
}

func mounts() []corev1.VolumeMount {
	var all []corev1.VolumeMount
	for _, name := range []string{"", "data", "config", "claim", "nothing"} {
		for _, path := range []string{"", "/a", "/b", "relative", "/a/../b", "/", "/dev/x", "/proc"} {
			all = append(all, corev1.VolumeMount{Name: name, MountPath: path})
		}
	}
	for i, sub := range []string{"a", "/a", "a/..", "..", "...", "../..", "/.."} {
		all = append(all, corev1.VolumeMount{Name: "data", MountPath: "/sub", SubPath: sub}, corev1.VolumeMount{Name: "data", MountPath: "/sub", SubPathExpr: sub})
		if i%2 == 0 {
			all = append(all, corev1.VolumeMount{Name: "data", MountPath: "/both", SubPath: sub, SubPathExpr: sub})
		}
	}
	for _, mode := range []corev1.MountPropagationMode{"", "None", "HostToContainer", "Bidirectional", "none"} {
		all = append(all, corev1.VolumeMount{Name: "data", MountPath: "/p", MountPropagation: new(mode)})
		for i, rro := range []corev1.RecursiveReadOnlyMode{"", "Disabled", "Enabled", "IfPossible", "yes"} {
			all = append(all, corev1.VolumeMount{Name: "data", MountPath: "/r", ReadOnly: i%2 == 0, RecursiveReadOnly: new(rro)},
				corev1.VolumeMount{Name: "data", MountPath: "/rp", ReadOnly: i%2 == 1, RecursiveReadOnly: new(rro), MountPropagation: new(mode)})
		}
	}
	for _, options := range [][]string{{"noexec"}, {"nodev", "nosuid"}, {"exec"}, {"noexec", "noexec"}, {"ro", "ro", ""}} {
		all = append(all, corev1.VolumeMount{Name: "data", MountPath: "/o", BindMountOptions: options}, corev1.VolumeMount{Name: "image", MountPath: "/i", BindMountOptions: options})
	}
	return all
}

func devices() []corev1.VolumeDevice {
	var all []corev1.VolumeDevice
	for _, name := range []string{"", "claim", "scratch", "data", "nothing"} {
		for _, path := range []string{"", "/dev/x", "/dev/y", "/dev/../x", "..", "relative"} {
			all = append(all, corev1.VolumeDevice{Name: name, DevicePath: path})
		}
	}
	return all
}

// security gives the container's security context, made if there is none.
func security(f func(*corev1.SecurityContext)) change {
	return func(s *corev1.EphemeralContainer) { f(securityContext(s)) }
}

func securityChanges() []change {
	all := []change{
		security(func(*corev1.SecurityContext) {}),
		security(func(sc *corev1.SecurityContext) { sc.Privileged = new(true) }),
		security(func(sc *corev1.SecurityContext) { sc.AllowPrivilegeEscalation = new(false) }),
		security(func(sc *corev1.SecurityContext) { sc.AllowPrivilegeEscalation = new(true) }),
		security(func(sc *corev1.SecurityContext) { sc.Privileged, sc.AllowPrivilegeEscalation = new(true), new(false) }),
		security(func(sc *corev1.SecurityContext) { sc.RunAsNonRoot, sc.ReadOnlyRootFilesystem = new(true), new(true) }),
		security(func(sc *corev1.SecurityContext) { sc.SELinuxOptions = &corev1.SELinuxOptions{Level: "s0"} }),
	}
	for _, names := range [][]corev1.Capability{{"SYS_ADMIN"}, {"CAP_SYS_ADMIN"}, {"CAP_SYS_ADMIN", "CAP_SYS_ADMIN"}, {"", "nonsense"}} {
		all = append(all, security(func(sc *corev1.SecurityContext) {
			sc.Capabilities, sc.AllowPrivilegeEscalation = &corev1.Capabilities{Add: names, Drop: names}, new(false)
		}))
	}
	for _, id := range []int64{0, 1, -1, 1<<31 - 1, 1 << 31, 1<<63 - 1} {
		all = append(all, security(func(sc *corev1.SecurityContext) { sc.RunAsUser = &id }), security(func(sc *corev1.SecurityContext) { sc.RunAsGroup = &id }))
	}
	for _, mode := range []corev1.ProcMountType{"", "Default", "Unmasked", "unmasked"} {
		all = append(all, security(func(sc *corev1.SecurityContext) { sc.ProcMount = &mode }))
	}
	for _, kind := range []string{"", "Localhost", "RuntimeDefault", "Unconfined", "localhost"} {
		for _, file := range []*string{nil, new(""), new("a/b"), new("/a"), new("a/../b"), new(" a"), new(" ")} {
			all = append(all, security(func(sc *corev1.SecurityContext) {
				sc.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileType(kind), LocalhostProfile: file}
			}), security(func(sc *corev1.SecurityContext) {
				sc.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileType(kind), LocalhostProfile: file}
			}))
		}
	}
	for _, length := range []int{maxAppArmorName, maxAppArmorName + 1} {
		all = append(all, security(func(sc *corev1.SecurityContext) {
			sc.AppArmorProfile = &corev1.AppArmorProfile{Type: "Localhost", LocalhostProfile: new(strings.Repeat("a", length))}
		}))
	}
	for _, user := range []string{
		"", "u", `d\u`, `d\`, `\u`, `a\b\c`, "a\tb", ". .", "u/v", `.d\u`, `d.e-f\u`, `d_e\u`, `-d.e\u`, strings.Repeat("d", 16) + `\u`, strings.Repeat("é", 15) + `\u`,
		strings.Repeat("é", 16) + `\u`, strings.Repeat("d.", 128) + `d\` + strings.Repeat("u", 105), strings.Repeat("u", 104), `d\. `, "u@v", "\x7f", "é",
	} {
		all = append(all, windows(corev1.WindowsSecurityContextOptions{RunAsUserName: &user}))
	}
	return append(all,
		windows(corev1.WindowsSecurityContextOptions{GMSACredentialSpecName: new("a.b"), GMSACredentialSpec: new("x")}),
		windows(corev1.WindowsSecurityContextOptions{GMSACredentialSpecName: new("A"), GMSACredentialSpec: new("")}),
		windows(corev1.WindowsSecurityContextOptions{HostProcess: new(true)}), windows(corev1.WindowsSecurityContextOptions{HostProcess: new(false)}))
}

func windows(o corev1.WindowsSecurityContextOptions) change {
	return security(func(sc *corev1.SecurityContext) { sc.WindowsOptions = &o })
}

func forbiddenChanges() []change {
	probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
	all := []change{
		func(s *corev1.EphemeralContainer) { s.LivenessProbe = probe },
		func(s *corev1.EphemeralContainer) { s.ReadinessProbe = &corev1.Probe{} },
		func(s *corev1.EphemeralContainer) { s.StartupProbe, s.LivenessProbe = probe, probe },
		func(s *corev1.EphemeralContainer) { s.Lifecycle = &corev1.Lifecycle{} },
		func(s *corev1.EphemeralContainer) { s.RestartPolicy = new(corev1.ContainerRestartPolicyAlways) },
		func(s *corev1.EphemeralContainer) {
			s.RestartPolicyRules = []corev1.ContainerRestartRule{{Action: corev1.ContainerRestartRuleActionRestart}}
		},
		func(s *corev1.EphemeralContainer) {
			s.Resources.Limits = corev1.ResourceList{"cpu": resource.MustParse("1"), "-": resource.MustParse("-1")}
		},
		func(s *corev1.EphemeralContainer) { s.Resources.Claims = []corev1.ResourceClaim{{Name: "a"}} },
	}
	for _, p := range []corev1.ContainerPort{
		{}, {ContainerPort: 80}, {Name: "web", ContainerPort: 80}, {Name: "web", ContainerPort: 81, Protocol: "UDP"}, {Name: "WEB", ContainerPort: -1, HostPort: 65536},
		{Name: "a-very-long-port-name", ContainerPort: 65536, Protocol: "tcp"}, {Name: "1", ContainerPort: 1, Protocol: "SCTP"}, {Name: "a--b-", ContainerPort: 1},
	} {
		all = append(all, func(s *corev1.EphemeralContainer) { s.Ports = append(s.Ports, p) })
	}
	for _, p := range []corev1.ContainerResizePolicy{
		{}, {ResourceName: "cpu", RestartPolicy: "NotRequired"}, {ResourceName: "cpu", RestartPolicy: "RestartContainer"}, {ResourceName: "gpu", RestartPolicy: "no"}, {ResourceName: "memory"},
	} {
		all = append(all, func(s *corev1.EphemeralContainer) { s.ResizePolicy = append(s.ResizePolicy, p) })
	}
	return all
}

// clashes are changes that only together are wrong.
func clashes() []change {
	ports := func(names ...string) change {
		return func(s *corev1.EphemeralContainer) {
			for i, name := range names {
				s.Ports = append(s.Ports, corev1.ContainerPort{Name: name, ContainerPort: int32(80 + i)})
			}
		}
	}
	volumes := func(mounts [][2]string, devices [][2]string) change {
		return func(s *corev1.EphemeralContainer) {
			for _, m := range mounts {
				s.VolumeMounts = append(s.VolumeMounts, corev1.VolumeMount{Name: m[0], MountPath: m[1]})
			}
			for _, d := range devices {
				s.VolumeDevices = append(s.VolumeDevices, corev1.VolumeDevice{Name: d[0], DevicePath: d[1]})
			}
		}
	}
	return []change{
		ports("web", "web", "web"), ports("WEB", "WEB"), ports("", ""),
		volumes([][2]string{{"data", "/a"}, {"config", "/a"}, {"data", "/b"}, {"", ""}, {"", ""}}, nil),
		volumes(nil, [][2]string{{"claim", "/dev/x"}, {"claim", "/dev/y"}, {"scratch", "/dev/x"}, {"", ""}, {"", ""}}),
		volumes(nil, [][2]string{{"claim", "/dev/.."}, {"scratch", "/dev/.."}}),
		volumes([][2]string{{"claim", "/dev/x"}, {"data", "/dev/y"}}, [][2]string{{"claim", "/dev/y"}, {"scratch", "/dev/x"}}),
		volumes([][2]string{{"claim", "/a"}, {"claim", "/b"}}, [][2]string{{"claim", "/a"}, {"claim", "/b"}}),
		func(s *corev1.EphemeralContainer) {
			s.ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: "cpu", RestartPolicy: "NotRequired"}, {ResourceName: "cpu", RestartPolicy: "NotRequired"}, {}, {}}
		},
		func(s *corev1.EphemeralContainer) {
			securityContext(s).Privileged = new(true)
			s.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/p", MountPropagation: new(corev1.MountPropagationBidirectional)}}
		},
	}
}

// customs are containers for kubectl's --custom.
func customs(r *rand.Rand) corev1.Container {
	var custom corev1.EphemeralContainer
	all := changes()
	for range r.IntN(5) {
		all[r.IntN(len(all))](&custom)
	}
	if r.IntN(4) > 0 {
		custom.Name, custom.Image, custom.Command, custom.Lifecycle, custom.VolumeDevices = "", "", nil, nil, nil
	}
	return corev1.Container(custom.EphemeralContainerCommon)
}
