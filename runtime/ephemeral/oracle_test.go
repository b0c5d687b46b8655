package ephemeral

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// The oracle is Kubernetes' own code (test/kubelet/kubernetes). Its answers are
// kept in testdata, so that this test needs neither it nor the time to build it:
//
//	export PORTHOLE_ORACLE=$(mktemp)
//	go build -C test/kubelet/kubernetes -o "$PORTHOLE_ORACLE" .
//	go test ./runtime/ephemeral -run TestOracle -record
//
// Without -record, PORTHOLE_ORACLE has the same program asked afresh about cases
// that nobody has seen before.
var record = flag.Bool("record", false, "write testdata/oracle.json anew with the oracle's answers")

const recorded = "testdata/oracle.json"

// question and answer are the oracle's lines; see there.
type question struct {
	Pod     json.RawMessage            `json:"pod"`
	Spec    *corev1.EphemeralContainer `json:"spec"`
	Profile string                     `json:"profile,omitempty"`
	Custom  string                     `json:"custom,omitempty"`
}

type answer struct {
	Kubectl          *corev1.EphemeralContainer
	Warning, Refused string
	Defaulted        *corev1.EphemeralContainer
	Errors           []struct{ Text string }
}

// A kase is a question about one of the pods below with what is kept of the
// answer.
type kase struct {
	Pod     string          `json:"pod"`
	Spec    json.RawMessage `json:"spec"`
	Profile string          `json:"profile,omitempty"`
	Custom  json.RawMessage `json:"custom,omitempty"`
	// Kubectl is only there with a profile, Defaulted only without errors.
	Kubectl   json.RawMessage `json:"kubectl,omitempty"`
	Warning   string          `json:"warning,omitempty"`
	Refused   string          `json:"refused,omitempty"`
	Defaulted json.RawMessage `json:"defaulted,omitempty"`
	// In the errors @ stands for the container's path.
	Errors []string `json:"errors,omitempty"`
}

// pods are what ephemeral containers are to be added to. They differ in what
// [PodFacts] tells of, and in the user.
var pods = map[string]string{
	"plain":   podOf(""),
	"nonroot": podOf("  securityContext: {runAsUser: 1000}\n"),
	"root":    podOf("  securityContext: {runAsUser: 0}\n"),
	"userns":  podOf("  hostUsers: false\n"),
}

func podOf(more string) string {
	return `
metadata: {name: pod, namespace: shop, resourceVersion: "1"}
spec:
  containers: [{name: app, image: app}, {name: sidecar, image: app}]
  initContainers: [{name: init, image: app}]
  ephemeralContainers: [{name: old, image: app}]
  volumes:
  - {name: data, emptyDir: {}}
  - {name: config, configMap: {name: a}}
  - {name: claim, persistentVolumeClaim: {claimName: a}}
  - {name: image, image: {reference: a}}
  - name: scratch
    ephemeral:
      volumeClaimTemplate:
        spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
` + more
}

// factsOf is what the check is told of a pod.
func factsOf(pod *corev1.Pod) PodFacts {
	facts := PodFacts{Known: true, HostUsers: pod.Spec.HostUsers == nil || *pod.Spec.HostUsers, Volumes: map[string]corev1.VolumeSource{}}
	for _, c := range pod.Spec.Containers {
		facts.Containers = append(facts.Containers, c.Name)
	}
	for _, c := range pod.Spec.InitContainers {
		facts.InitContainers = append(facts.InitContainers, c.Name)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		facts.Ephemeral = append(facts.Ephemeral, c.Name)
	}
	for _, v := range pod.Spec.Volumes {
		facts.Volumes[v.Name] = v.VolumeSource
	}
	return facts
}

func TestOracle(t *testing.T) {
	oracle := os.Getenv("PORTHOLE_ORACLE")
	if *record {
		write(t, ask(t, oracle, append(singles(), mixed(rand.New(rand.NewPCG(1, 2)), 100)...)))
	}
	data, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	var cases []kase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if oracle != "" && !*record {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		cases = append(cases, ask(t, oracle, mixed(rand.New(rand.NewPCG(seed, 0)), 5000))...)
	}
	wrong := 0
	for _, c := range cases {
		for _, problem := range c.compare(t) {
			wrong++
			t.Errorf("%s pod, profile %q, custom %s, spec %s:\n%s", c.Pod, c.Profile, c.Custom, c.Spec, problem)
		}
		if wrong > 20 {
			t.Fatal("and so on")
		}
	}
	t.Logf("%d cases", len(cases))
}

// compare says where we and the oracle differ.
func (c *kase) compare(t *testing.T) (problems []string) {
	t.Helper()
	var pod corev1.Pod
	if err := yaml.Unmarshal([]byte(pods[c.Pod]), &pod); err != nil {
		t.Fatal(err)
	}
	spec := decodeCase(t, c.Spec)
	if c.Profile != "" {
		problems = c.compareKubectl(t, spec, &pod)
		if c.Refused != "" {
			return problems
		}
		spec = decodeCase(t, c.Kubectl)
	}
	Default(spec)
	if c.Defaulted != nil {
		if want := decodeCase(t, c.Defaulted); !equality.Semantic.DeepEqual(spec, want) {
			problems = append(problems, fmt.Sprintf("defaulted\n%+v, want\n%+v", spec, want))
		}
	}
	var texts []string
	for _, e := range check(spec, factsOf(&pod)) {
		if e.Origin != ours {
			texts = append(texts, plain(e))
		}
	}
	if !slices.Equal(texts, c.Errors) {
		problems = append(problems, fmt.Sprintf("errors\n\t%s\nwant\n\t%s", strings.Join(texts, "\n\t"), strings.Join(c.Errors, "\n\t")))
	}
	return problems
}

// compareKubectl applies the profile to spec.
func (c *kase) compareKubectl(t *testing.T, spec *corev1.EphemeralContainer, pod *corev1.Pod) (problems []string) {
	t.Helper()
	if err := ApplyProfile(spec, c.Profile); err != nil {
		t.Fatal(err)
	}
	read := spec.DeepCopy()
	refused, warning := "", ""
	if err := ApplyCustom(spec, c.Custom); err != nil {
		refused = err.Error()
	}
	if refused != c.Refused {
		return []string{fmt.Sprintf("refused: %q, want %q", refused, c.Refused)}
	}
	if refused != "" {
		return nil
	}
	if c.Custom != nil {
		// The bug of kubectl's that ApplyCustom tells of.
		data, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, read); err != nil {
			t.Fatal(err)
		}
	}
	if want := decodeCase(t, c.Kubectl); !equality.Semantic.DeepEqual(read, want) {
		problems = append(problems, fmt.Sprintf("kubectl sends\n%+v, not\n%+v", want, read))
	}
	var user *int64
	if pod.Spec.SecurityContext != nil {
		user = pod.Spec.SecurityContext.RunAsUser
	}
	for _, w := range []string{ProfileWarning(c.Profile), NonRootWarning(spec, user)} {
		if w != "" {
			warning += w + "\n"
		}
	}
	if warning != c.Warning {
		problems = append(problems, fmt.Sprintf("kubectl warns %q, not %q", c.Warning, warning))
	}
	return problems
}

// plain is an error's text as the oracle gives it: without whole structs.
func plain(e *field.Error) string {
	if v := reflect.Indirect(reflect.ValueOf(e.BadValue)); v.Kind() == reflect.Struct {
		e.BadValue = struct{}{}
	}
	return short(e.Error())
}

func short(text string) string { return strings.Replace(text, "spec.ephemeralContainers[0]", "@", 1) }

// notOurs are errors of the API server's that we leave out: the content of
// resources, which are refused as a whole; the pod's network when its user asks
// for what Windows has; and that a second container of a name changes the first.
func notOurs(text string) bool {
	return strings.HasPrefix(text, "spec.ephemeralContainers[0].resources") && !strings.HasSuffix(text, notEphemeral) ||
		strings.HasPrefix(text, "spec.hostNetwork:") || strings.HasPrefix(text, "spec.ephemeralContainers: Forbidden: existing")
}

func decodeCase(t *testing.T, data []byte) *corev1.EphemeralContainer {
	t.Helper()
	spec, err := Decode(data)
	if err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return spec
}

// singles makes every change by itself, so that all of it was asked once.
func singles() (cases []kase) {
	for i, change := range changes() {
		spec := &corev1.EphemeralContainer{}
		spec.Name, spec.Image = "debug", "busybox"
		change(spec)
		cases = append(cases, newKase(spec))
		if sc := spec.SecurityContext; sc != nil && sc.ProcMount != nil || i%8 == 0 {
			cases = append(cases, newKase(spec))
			cases[len(cases)-1].Pod = "userns"
		}
	}
	return cases
}

// mixed makes several changes at once, on any of the pods, through profiles.
func mixed(r *rand.Rand, count int) (cases []kase) {
	all, names := changes(), []string{"nonroot", "plain", "root", "userns"}
	for range count {
		spec := &corev1.EphemeralContainer{}
		spec.Name, spec.Image = "debug", "busybox"
		at := r.IntN(len(all))
		for range r.IntN(5) {
			all[at](spec)
			step := 20 // neighbours are of a kind and get into each other's way
			if r.IntN(2) == 0 {
				step = len(all)
			}
			at = (at + r.IntN(step)) % len(all)
		}
		c := newKase(spec)
		c.Pod = names[r.IntN(len(names))]
		if spec.Name == "debug" && r.IntN(2) == 0 {
			c.Profile = Profiles()[r.IntN(len(Profiles()))]
		}
		if c.Profile != "" && r.IntN(2) == 0 {
			c.Custom = jsonOf(customs(r))
		}
		cases = append(cases, c)
	}
	return cases
}

func newKase(spec *corev1.EphemeralContainer) kase { return kase{Pod: "plain", Spec: jsonOf(spec)} }

// jsonOf is the shortest form of an object of the API.
func jsonOf(object any) json.RawMessage {
	fields, err := fieldsOf(object)
	if err != nil {
		panic(err)
	}
	prune(fields)
	data, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return data
}

// ask has the oracle answer.
func ask(t *testing.T, oracle string, cases []kase) []kase {
	t.Helper()
	var in, out bytes.Buffer
	for _, c := range cases {
		pod, err := yaml.YAMLToJSON([]byte(pods[c.Pod]))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.NewEncoder(&in).Encode(question{pod, decodeCase(t, c.Spec), c.Profile, string(c.Custom)}); err != nil {
			t.Fatal(err)
		}
	}
	program := exec.CommandContext(t.Context(), oracle)
	program.Stdin, program.Stdout, program.Stderr = &in, &out, os.Stderr
	if err := program.Run(); err != nil {
		t.Fatalf("oracle %q: %v", oracle, err)
	}
	answers := json.NewDecoder(&out)
	for i := range cases {
		var a answer
		if err := answers.Decode(&a); err != nil {
			t.Fatal(err)
		}
		c := &cases[i]
		c.Warning, c.Refused = a.Warning, a.Refused
		if a.Kubectl != nil {
			c.Kubectl = jsonOf(a.Kubectl)
		}
		for _, e := range a.Errors {
			if !notOurs(e.Text) {
				c.Errors = append(c.Errors, short(e.Text))
			}
		}
		if a.Defaulted != nil && len(a.Errors) == 0 {
			c.Defaulted = jsonOf(a.Defaulted)
		}
	}
	return cases
}

// write keeps the cases, a line each.
func write(t *testing.T, cases []kase) {
	t.Helper()
	var lines []string
	for _, c := range cases {
		var line bytes.Buffer
		encoder := json.NewEncoder(&line)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(c); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimSpace(line.String()))
	}
	if err := os.WriteFile(recorded, []byte("[\n"+strings.Join(lines, ",\n")+"\n]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
