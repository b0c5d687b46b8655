package ephemeral

import corev1 "k8s.io/api/core/v1"

// Default fills in what the API server does (pkg/apis/core/v1 defaults.go and
// zz_generated.defaults.go, SetDefaults_EphemeralContainer) of the fields that an
// ephemeral container may have. Of those that it may not, only a port's protocol
// is, so that [Validate] says no more about it than the API server.
func Default(spec *corev1.EphemeralContainer) {
	if spec.ImagePullPolicy == "" {
		spec.ImagePullPolicy = DefaultPullPolicy(spec.Image)
	}
	if spec.TerminationMessagePath == "" {
		spec.TerminationMessagePath = corev1.TerminationMessagePathDefault
	}
	if spec.TerminationMessagePolicy == "" {
		spec.TerminationMessagePolicy = corev1.TerminationMessageReadFile
	}
	for i := range spec.Env {
		from := spec.Env[i].ValueFrom
		if from != nil && from.FieldRef != nil && from.FieldRef.APIVersion == "" {
			from.FieldRef.APIVersion = "v1"
		}
		if from != nil && from.FileKeyRef != nil && from.FileKeyRef.Optional == nil {
			from.FileKeyRef.Optional = new(false)
		}
	}
	for i := range spec.Ports {
		if spec.Ports[i].Protocol == "" {
			spec.Ports[i].Protocol = corev1.ProtocolTCP
		}
	}
}
