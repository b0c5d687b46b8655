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
