package ephemeral

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// ApplyCustom changes the spec, after its profile, as kubectl debug --custom
// does: doc is a partial v1.Container in YAML or JSON and is merged over the spec
// as a strategic merge patch. What kubectl refuses there is refused in its words;
// unlike kubectl, so are fields that the API does not have. An empty document
// changes nothing. Errors are of class errdefs.ErrInvalidArgument.
func ApplyCustom(spec *corev1.EphemeralContainer, doc []byte) error {
	if len(bytes.TrimSpace(doc)) == 0 {
		return nil
	}
	data, twice, err := toJSON(doc)
	if err != nil {
		return err
	}
	if string(data) == "null" {
		return nil
	}
	if data[0] != '{' {
		return problems{"the document is " + what(data) + "; the fields of one container are wanted"}
	}
	var custom corev1.Container
	if err := decodeStrict(data, &custom, twice); err != nil {
		return err
	}
	if custom.Name != "" || len(custom.Command) > 0 || custom.Image != "" || custom.Lifecycle != nil || len(custom.VolumeDevices) > 0 {
		return problems{"name, command, image, lifecycle and volume devices are not modifiable via custom profile"}
	}
	custom.Name = spec.Name
	original, err := fieldsOf(spec)
	if err != nil {
		return fmt.Errorf("ephemeral container %q: %w", spec.Name, err)
	}
	patch, err := fieldsOf(&custom)
	if err != nil {
		return fmt.Errorf("custom profile: %w", err)
	}
	mergeFields(original, patch, mergeKeys)
	if data, err = stdjson.Marshal(original); err != nil {
		return fmt.Errorf("custom profile: %w", err)
	}
	// Into a new one: kubectl reads the result over the old elements of its lists,
	// whose fields then show through (a value beside a valueFrom).
	merged := corev1.EphemeralContainer{}
	if err := stdjson.Unmarshal(data, &merged); err != nil {
		return fmt.Errorf("custom profile: %w", err)
	}
	*spec = merged
	return nil
}

// fieldsOf gives the fields of an object of the API as its JSON has them.
func fieldsOf(object any) (fields map[string]any, err error) {
	data, err := stdjson.Marshal(object)
	if err != nil {
		return nil, err
	}
	decoder := stdjson.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // an int64 is no float64
	return fields, decoder.Decode(&fields)
}

// mergeKeys are the lists of a container that merge, with the field that tells
// their elements apart (patchMergeKey in k8s.io/api/core/v1). Any other list is
// replaced.
var mergeKeys = map[string]string{"env": "name", "ports": "containerPort", "volumeDevices": "devicePath", "volumeMounts": "mountPath"}

// mergeFields is strategicpatch.StrategicMergePatch for a patch made of a typed
// object, which has neither nulls nor directives. (The package itself would bring
// OpenAPI into the binary.)
func mergeFields(original, patch map[string]any, keys map[string]string) {
	for name, value := range patch {
		switch value := value.(type) {
		case map[string]any:
			if into, ok := original[name].(map[string]any); ok {
				mergeFields(into, value, nil)
				continue
			}
		case []any:
			if list, ok := original[name].([]any); ok && keys[name] != "" {
				original[name] = mergeList(list, value, keys[name])
				continue
			}
		}
		original[name] = value
	}
}

// mergeList merges elements of the same key and puts the rest of the patch's
// before what is only in the original, as far as the original's own order does
// not say otherwise (normalizeElementOrder).
func mergeList(original, patch []any, key string) []any {
	merged := slices.Clone(original)
	for _, p := range patch {
		if i := indexOf(merged, p, key); i >= 0 {
			mergeFields(merged[i].(map[string]any), p.(map[string]any), nil)
		} else {
			merged = append(merged, p)
		}
	}
	var rest, patched []any
	for _, m := range merged {
		if indexOf(patch, m, key) < 0 {
			rest = append(rest, m)
		} else {
			patched = append(patched, m)
		}
	}
	inOrder := func(list []any, of []any) {
		slices.SortStableFunc(list, func(a, b any) int { return indexOf(of, a, key) - indexOf(of, b, key) })
	}
	inOrder(rest, original)
	inOrder(patched, patch)
	merged = merged[:0]
	for len(rest) > 0 && len(patched) > 0 {
		if indexOf(original, rest[0], key) < indexOf(original, patched[0], key) {
			merged, rest = append(merged, rest[0]), rest[1:]
		} else {
			merged, patched = append(merged, patched[0]), patched[1:]
		}
	}
	return slices.Concat(merged, patched, rest)
}

// indexOf finds the element that has like's key.
func indexOf(list []any, like any, key string) int {
	return slices.IndexFunc(list, func(e any) bool { return e.(map[string]any)[key] == like.(map[string]any)[key] })
}
