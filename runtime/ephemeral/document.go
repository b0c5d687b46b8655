package ephemeral

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"
	yamlv2 "go.yaml.in/yaml/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// problems are errors of class [errdefs.ErrInvalidArgument], a line each.
type problems []string

func (p problems) Error() string { return strings.Join(p, "\n") }
func (problems) Unwrap() error   { return errdefs.ErrInvalidArgument }

// NotContainer says that a document is a whole pod, of which kubectl debug -f
// takes the name. Its class is [errdefs.ErrInvalidArgument].
type NotContainer struct {
	Kind, Namespace, Name string
}

// Error names the pod.
func (e *NotContainer) Error() string {
	name := e.Name
	if e.Namespace != "" {
		name = e.Namespace + "/" + name
	}
	return fmt.Sprintf("the document is the %s %q, not an ephemeral container", e.Kind, name)
}

// Unwrap gives the error's class.
func (e *NotContainer) Unwrap() error { return errdefs.ErrInvalidArgument }

// Decode reads one v1.EphemeralContainer, written in YAML or JSON, as strictly
// as the API server does with fieldValidation=Strict: unknown and duplicate
// fields are errors that name the field's path, all of them at once. So are a
// second document, an empty one, and one of another kind; a v1.Pod is a
// [*NotContainer]. Every error is of class [errdefs.ErrInvalidArgument].
func Decode(doc []byte) (*corev1.EphemeralContainer, error) {
	data, twice, err := toJSON(doc)
	if err != nil {
		return nil, err
	}
	if data[0] != '{' {
		return nil, problems{"the document is " + what(data) + "; one ephemeral container is wanted, as in a pod's spec.ephemeralContainers"}
	}
	if err := checkKind(data); err != nil {
		return nil, err
	}
	spec := &corev1.EphemeralContainer{}
	if err := decodeStrict(data, spec, twice); err != nil {
		return nil, err
	}
	return spec, nil
}

// toJSON reads the only document in doc. JSON stays as it is, so that the
// decoder tells of a field that is there twice; in YAML the second value is gone
// by then, and twice tells of it.
func toJSON(doc []byte) (data []byte, twice problems, err error) {
	if stdjson.Valid(doc) {
		return bytes.TrimSpace(doc), nil, nil
	}
	if bytes.HasPrefix(bytes.TrimSpace(doc), []byte("{")) && stdjson.NewDecoder(bytes.NewReader(doc)).Decode(&stdjson.RawMessage{}) == nil {
		return nil, nil, problems{"something follows the end of the document; give one"}
	}
	if err := checkSingle(doc); err != nil {
		return nil, nil, err
	}
	data, err = yaml.YAMLToJSON(doc)
	if err != nil {
		return nil, nil, problems(yamlLines(err))
	}
	if _, err := yaml.YAMLToJSONStrict(doc); err != nil {
		twice = yamlLines(err)
	}
	return data, twice, nil
}

// checkSingle refuses a stream of several documents, of which yaml.YAMLToJSON
// would read the first and forget the others.
func checkSingle(doc []byte) error {
	decoder := yamlv2.NewDecoder(bytes.NewReader(doc))
	for first := true; ; first = false {
		var content any
		err := decoder.Decode(&content)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return problems(yamlLines(err))
		case !first && content != nil:
			return problems{"there are several documents; give one"}
		}
	}
}

// yamlLines takes the errors out of the parser's list of them.
func yamlLines(err error) []string {
	text := strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n")
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return lines
}

// what names a JSON value that is not an object.
func what(data []byte) string {
	switch data[0] {
	case 'n':
		return "empty"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	default:
		return "a number"
	}
}

// checkKind refuses a document that says what it is: an ephemeral container is
// part of an object and has no kind of its own.
func checkKind(data []byte) error {
	var object struct {
		APIVersion any `json:"apiVersion"`
		Kind       any `json:"kind"`
		Metadata   struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
		} `json:"metadata"`
	}
	err := json.UnmarshalCaseSensitivePreserveInts(data, &object)
	switch {
	case object.Kind == nil:
		return nil // what err is about is for Decode to tell
	case err == nil && object.Kind == "Pod" && object.APIVersion == "v1":
		return &NotContainer{"Pod", object.Metadata.Namespace, object.Metadata.Name}
	default:
		return problems{fmt.Sprintf("kind: %q: an ephemeral container has no kind; give its fields (name, image, …) as in a pod's spec.ephemeralContainers, or a Pod of apiVersion v1 for its name", fmt.Sprint(object.Kind))}
	}
}

// Encode writes a spec as YAML that [Decode] reads back to the same. It is an
// error of class [errdefs.ErrInvalidArgument] if that cannot be, which is so for
// text that is not UTF-8.
func Encode(spec *corev1.EphemeralContainer) ([]byte, error) {
	data, err := JSON(spec)
	if err != nil {
		return nil, err
	}
	doc, err := yaml.JSONToYAML(data)
	if err != nil {
		return nil, fmt.Errorf("ephemeral container %q: %w", spec.Name, err)
	}
	if again, err := Decode(doc); err != nil || !equality.Semantic.DeepEqual(spec, again) {
		return nil, fmt.Errorf("ephemeral container %q cannot be written as YAML; is all of it UTF-8?: %w", spec.Name, errdefs.ErrInvalidArgument)
	}
	return doc, nil
}

// JSON writes a spec without what nobody set.
func JSON(spec *corev1.EphemeralContainer) ([]byte, error) {
	data, err := stdjson.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("ephemeral container %q: %w", spec.Name, err)
	}
	var fields any
	decoder := stdjson.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // an int64 is no float64
	if err := decoder.Decode(&fields); err != nil {
		return nil, fmt.Errorf("ephemeral container %q: %w", spec.Name, err)
	}
	prune(fields)
	if data, err = stdjson.Marshal(fields); err != nil {
		return nil, fmt.Errorf("ephemeral container %q: %w", spec.Name, err)
	}
	return data, nil
}

// prune removes what an object of the API has in JSON though nobody set it.
func prune(value any) {
	switch value := value.(type) {
	case map[string]any:
		for key, v := range value {
			prune(v)
			empty, isMap := v.(map[string]any)
			if key == "resources" && isMap && len(empty) == 0 || key == "divisor" && v == "0" {
				delete(value, key)
			}
		}
	case []any:
		for _, v := range value {
			prune(v)
		}
	}
}
