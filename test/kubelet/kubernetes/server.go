package main

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	"k8s.io/kubernetes/pkg/capabilities"
	"k8s.io/kubernetes/pkg/features"
	"k8s.io/kubernetes/pkg/registry/core/pod"
)

// server is as much of an API server as decides about pods/ephemeralcontainers.
type server struct{ scheme *runtime.Scheme }

// newServer has the feature gates of a default API server, and --allow-privileged
// as every installer sets it. VolumeBindMountOptions is on: without that gate
// the server drops bindMountOptions in silence, and nothing could be compared.
func newServer() (*server, error) {
	capabilities.Setup(true, 0)
	on := map[string]bool{string(features.VolumeBindMountOptions): true}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(on); err != nil {
		return nil, err
	}
	return &server{legacyscheme.Scheme}, nil
}

// internal defaults a copy of the pod and converts it, as the server does with
// what it reads.
func (s *server) internal(v1pod *corev1.Pod) (*core.Pod, error) {
	v1pod = v1pod.DeepCopy()
	s.scheme.Default(v1pod)
	var p core.Pod
	return &p, s.scheme.Convert(v1pod, &p, nil)
}

func (a *answer) askServer(s *server, q *question) error {
	before, err := s.internal(&q.Pod)
	if err != nil {
		return err
	}
	spec := &q.Spec
	if a.Kubectl != nil {
		spec = a.Kubectl
	}
	with := q.Pod.DeepCopy()
	with.Spec.EphemeralContainers = append(with.Spec.EphemeralContainers, *spec.DeepCopy())
	after, err := s.internal(with)
	if err != nil {
		return err
	}
	pod.EphemeralContainersStrategy.PrepareForUpdate(context.Background(), after, before)
	for _, e := range pod.EphemeralContainersStrategy.ValidateUpdate(context.Background(), after, before) {
		a.Errors = append(a.Errors, newFieldError(e, len(before.Spec.EphemeralContainers)))
	}
	var stored corev1.Pod
	if err := s.scheme.Convert(after, &stored, nil); err != nil {
		return err
	}
	a.Defaulted = &stored.Spec.EphemeralContainers[len(before.Spec.EphemeralContainers)]
	return nil
}

func newFieldError(e *field.Error, index int) fieldError {
	const list = "spec.ephemeralContainers"
	if rest, ok := strings.CutPrefix(e.Field, fmt.Sprintf("%s[%d]", list, index)); ok {
		e.Field = list + "[0]" + rest
	}
	if v := reflect.Indirect(reflect.ValueOf(e.BadValue)); v.Kind() == reflect.Struct {
		e.BadValue = struct{}{}
	}
	return fieldError{string(e.Type), e.Field, e.Detail, e.Error()}
}
