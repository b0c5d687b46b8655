package cri

import (
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/runtime"
)

func modeOf(m runtimeapi.NamespaceMode) runtime.NamespaceMode {
	return runtime.NamespaceMode(m.String())
}

func modeTo(m runtime.NamespaceMode) runtimeapi.NamespaceMode {
	return runtimeapi.NamespaceMode(runtimeapi.NamespaceMode_value[string(m)])
}

func usersOf(u *runtimeapi.UserNamespace) runtime.UserNamespace {
	if u == nil {
		return runtime.UserNamespace{}
	}
	return runtime.UserNamespace{Mode: modeOf(u.GetMode()), UIDs: mapsOf(u.GetUids()), GIDs: mapsOf(u.GetGids())}
}

func usersTo(u runtime.UserNamespace) *runtimeapi.UserNamespace {
	if u.Mode == "" {
		return nil
	}
	return &runtimeapi.UserNamespace{Mode: modeTo(u.Mode), Uids: mapsTo(u.UIDs), Gids: mapsTo(u.GIDs)}
}

func mapsOf(in []*runtimeapi.IDMapping) []runtime.IDMap {
	var out []runtime.IDMap
	for _, m := range in {
		out = append(out, runtime.IDMap{Host: m.GetHostId(), Container: m.GetContainerId(), Length: m.GetLength()})
	}
	return out
}

func mapsTo(in []runtime.IDMap) []*runtimeapi.IDMapping {
	var out []*runtimeapi.IDMapping
	for _, m := range in {
		out = append(out, &runtimeapi.IDMapping{HostId: m.Host, ContainerId: m.Container, Length: m.Length})
	}
	return out
}

func valueOf(v *runtimeapi.Int64Value) *int64 {
	if v == nil {
		return nil
	}
	value := v.GetValue()
	return &value
}

func valueTo(v *int64) *runtimeapi.Int64Value {
	if v == nil {
		return nil
	}
	return &runtimeapi.Int64Value{Value: *v}
}

func profileOf(p *runtimeapi.SecurityProfile) *runtime.SecurityProfile {
	if p == nil {
		return nil
	}
	return &runtime.SecurityProfile{Type: p.GetProfileType().String(), Ref: p.GetLocalhostRef()}
}

func profileTo(p runtime.SecurityProfile) *runtimeapi.SecurityProfile {
	out := &runtimeapi.SecurityProfile{LocalhostRef: p.Ref}
	switch corev1.SeccompProfileType(p.Type) {
	case corev1.SeccompProfileTypeUnconfined:
		out.ProfileType = runtimeapi.SecurityProfile_Unconfined
	case corev1.SeccompProfileTypeLocalhost:
		out.ProfileType = runtimeapi.SecurityProfile_Localhost
	}
	return out
}

// appArmorTo writes a profile in both of CRI's forms, as kubelet does for older
// runtimes (kuberuntime getAppArmorProfile).
func appArmorTo(p *runtime.SecurityProfile) (*runtimeapi.SecurityProfile, string) {
	if p == nil {
		return nil, ""
	}
	name := corev1.DeprecatedAppArmorBetaProfileRuntimeDefault
	switch corev1.AppArmorProfileType(p.Type) {
	case corev1.AppArmorProfileTypeUnconfined:
		name = corev1.DeprecatedAppArmorBetaProfileNameUnconfined
	case corev1.AppArmorProfileTypeLocalhost:
		name = corev1.DeprecatedAppArmorBetaProfileNamePrefix + p.Ref
	}
	return profileTo(*p), name
}

func selinuxOf(o *runtimeapi.SELinuxOption) *corev1.SELinuxOptions {
	if o == nil {
		return nil
	}
	return &corev1.SELinuxOptions{User: o.GetUser(), Role: o.GetRole(), Type: o.GetType(), Level: o.GetLevel()}
}

func selinuxTo(o *corev1.SELinuxOptions) *runtimeapi.SELinuxOption {
	if o == nil {
		return nil
	}
	return &runtimeapi.SELinuxOption{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
}

// propagations pairs the API's words with CRI's; private is the absence of both.
var propagations = map[runtimeapi.MountPropagation]corev1.MountPropagationMode{
	runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER: corev1.MountPropagationHostToContainer,
	runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL:     corev1.MountPropagationBidirectional,
}

func mountOf(m *runtimeapi.Mount) runtime.Mount {
	out := runtime.Mount{
		HostPath: m.GetHostPath(), ContainerPath: m.GetContainerPath(), ReadOnly: m.GetReadonly(), RecursiveReadOnly: m.GetRecursiveReadOnly(),
		Relabel: m.GetSelinuxRelabel(), Propagation: propagations[m.GetPropagation()], SubPath: m.GetImageSubPath(), Options: m.GetMountOptions(),
	}
	if image := m.GetImage(); image.GetImage() != "" {
		// containerd notes in its own copy where it has put the image.
		out.Image, out.HostPath = &runtime.Image{ID: image.GetImage(), Ref: image.GetUserSpecifiedImage()}, ""
	}
	return out
}

func mountTo(m runtime.Mount, p *runtime.Plan) *runtimeapi.Mount {
	users := p.Namespaces.Users
	out := &runtimeapi.Mount{
		HostPath: m.HostPath, ContainerPath: m.ContainerPath, Readonly: m.ReadOnly, RecursiveReadOnly: m.RecursiveReadOnly,
		SelinuxRelabel: m.Relabel, ImageSubPath: m.SubPath, MountOptions: m.Options,
		// Kubelet repeats the pod's mapping on every mount.
		UidMappings: mapsTo(users.UIDs),
		GidMappings: mapsTo(users.GIDs),
	}
	for cri, api := range propagations {
		if api == m.Propagation {
			out.Propagation = cri
		}
	}
	if m.Image != nil {
		// As kubelet's getImageVolumes has it.
		out.Image = &runtimeapi.ImageSpec{Image: m.Image.ID, UserSpecifiedImage: m.Image.Ref, RuntimeHandler: p.Pod.Handler, Annotations: p.Pod.Annotations}
	}
	return out
}
