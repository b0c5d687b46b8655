package runtime

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// targetEnv is what kubelet gave to a container that declares DB_HOST, in a
// namespace with the services kubernetes and my-db.
var targetEnv = []EnvVar{
	{"PATH", "/bin"},
	{"DB_HOST", "db.local"},
	{"DB_PORT", "5432"}, // declared: there is no DB_SERVICE_HOST
	{"KUBERNETES_SERVICE_HOST", "10.96.0.1"},
	{"KUBERNETES_SERVICE_PORT", "443"},
	{"KUBERNETES_SERVICE_PORT_HTTPS", "443"},
	{"KUBERNETES_PORT", "tcp://10.96.0.1:443"},
	{"KUBERNETES_PORT_443_TCP", "tcp://10.96.0.1:443"},
	{"KUBERNETES_PORT_443_TCP_PROTO", "tcp"},
	{"KUBERNETES_PORT_443_TCP_PORT", "443"},
	{"KUBERNETES_PORT_443_TCP_ADDR", "10.96.0.1"},
	{"MY_DB_SERVICE_HOST", "10.96.0.2"},
	{"MY_DB_SERVICE_PORT", "5432"},
	{"MY_DB_PORT", "sctp://10.96.0.2:5432"},
	{"MY_DB_PORT_5432_SCTP", "sctp://10.96.0.2:5432"},
	{"MY_DB_PASSWORD", "secret"},
	{"MY_DB_PORT_FORWARD", "1"},
	{"LONE_SERVICE_HOST", "declared: without a port it is no service"},
	{"HOSTNAME", "web"},
}

func names(env []EnvVar) string {
	var out []string
	for _, e := range env {
		out = append(out, e.Name)
	}
	return strings.Join(out, " ")
}

func TestServiceVars(t *testing.T) {
	got := names(serviceVars(targetEnv))
	want := "KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT KUBERNETES_SERVICE_PORT_HTTPS KUBERNETES_PORT " +
		"KUBERNETES_PORT_443_TCP KUBERNETES_PORT_443_TCP_PROTO KUBERNETES_PORT_443_TCP_PORT KUBERNETES_PORT_443_TCP_ADDR " +
		"MY_DB_SERVICE_HOST MY_DB_SERVICE_PORT MY_DB_PORT MY_DB_PORT_5432_SCTP"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := serviceVars(nil); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

func TestPlanEnv(t *testing.T) {
	services := []EnvVar{{"WEB_SERVICE_HOST", "10.0.0.1"}, {"WEB_SERVICE_PORT", "80"}, {"OWN", "not ours"}}
	for _, c := range []struct {
		what     string
		declared []corev1.EnvVar
		target   []EnvVar
		want     []EnvVar
	}{
		{"nothing", nil, nil, nil},
		{"in order", []corev1.EnvVar{{Name: "B", Value: "2"}, {Name: "A", Value: "1"}}, nil, []EnvVar{{"B", "2"}, {"A", "1"}}},
		{"of the target only services, behind", []corev1.EnvVar{{Name: "A", Value: "1"}}, services, []EnvVar{{"A", "1"}, services[0], services[1]}},
		{"declared over service", []corev1.EnvVar{{Name: "WEB_SERVICE_HOST", Value: "x"}}, services, []EnvVar{{"WEB_SERVICE_HOST", "x"}, services[1]}},
		{"refers to a service", []corev1.EnvVar{{Name: "URL", Value: "http://$(WEB_SERVICE_HOST):$(WEB_SERVICE_PORT)"}}, services, []EnvVar{{"URL", "http://10.0.0.1:80"}, services[0], services[1]}},
		{"refers to an earlier one", []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "$(A)$(C)"}, {Name: "C", Value: "3"}}, nil, []EnvVar{{"A", "1"}, {"B", "1$(C)"}, {"C", "3"}}},
		{"not to the target's own", []corev1.EnvVar{{Name: "A", Value: "$(OWN)"}}, services, []EnvVar{{"A", "$(OWN)"}, services[0], services[1]}},
		{"the last of two, over itself", []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}, {Name: "A", Value: "$(A)1"}}, nil, []EnvVar{{"B", "2"}, {"A", "11"}}},
	} {
		f := &Facts{Target: &Target{Env: c.target}}
		spec := goodSpec()
		spec.Env = c.declared
		if got, err := planEnv(f, spec, nil); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.what, got, err, c.want)
		}
	}
	if got, err := planEnv(&Facts{}, goodSpec(), nil); err != nil || got != nil {
		t.Errorf("without a target: %v, %v", got, err)
	}
}
