package ephemeral

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/json"
)

// decodeStrict reads data, a JSON object, into the struct that into points to,
// and adds to known what is strictly wrong.
func decodeStrict[T any](data []byte, into *T, known problems) error {
	strict, err := json.UnmarshalStrict(data, into)
	if err != nil {
		known = append(known, wrongTypes[T](data)...)
		if len(known) == 0 {
			known = problems{err.Error()}
		}
	}
	for _, e := range strict {
		known = append(known, e.Error())
	}
	if len(known) > 0 {
		return known
	}
	return nil
}

// wrongTypes finds all values that do not fit their field, by giving the decoder
// one value at a time: by itself it tells of the first, of no list's index, and
// of a bad quantity not even where.
func wrongTypes[T any](data []byte) (wrong problems) {
	var object any
	decoder := stdjson.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		return problems{err.Error()}
	}
	leaves(object, "", func(value any) any { return value }, func(path string, alone any) {
		data, err := stdjson.Marshal(alone)
		if err == nil {
			err = json.UnmarshalCaseSensitivePreserveInts(data, new(T))
		}
		if err == nil {
			return
		}
		if text := wrongType(path, err.Error()); !slices.Contains(wrong, text) {
			wrong = append(wrong, text)
		}
	})
	return wrong
}

// leaves calls visit for each value without parts, with its path and an object
// that has nothing else. around builds the latter.
func leaves(value any, path string, around func(any) any, visit func(string, any)) {
	switch parts := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(parts)) {
			leaves(parts[key], strings.TrimPrefix(path+"."+key, "."), func(v any) any { return around(map[string]any{key: v}) }, visit)
		}
		if len(parts) > 0 {
			return
		}
	case []any:
		for i, part := range parts {
			leaves(part, fmt.Sprintf("%s[%d]", path, i), func(v any) any { return around([]any{v}) }, visit)
		}
		if len(parts) > 0 {
			return
		}
	}
	visit(path, around(value))
}

var (
	// decoderText is how the decoder words that a value is of the wrong type.
	decoderText = regexp.MustCompile(`^json: cannot unmarshal (.+) into Go struct field [^.]*\.(.+) of type (.+)$`)
	// embedded is a Go struct in a path of the decoder's; JSON knows nothing of it.
	embedded = regexp.MustCompile(`\b[A-Z]\w*\.`)
)

// wrongType words the decoder's error about the value at path, or about
// something around that value: then the decoder's own path is shorter.
func wrongType(path, text string) string {
	m := decoderText.FindStringSubmatch(text)
	if m == nil {
		return path + ": " + text
	}
	names := strings.Split(path, ".")
	depth := strings.Count(embedded.ReplaceAllString(m[2], ""), ".") + 1
	path = strings.Join(names[:min(depth, len(names))], ".")
	return fmt.Sprintf("%s: %s is given where %s is wanted", path, m[1], strings.ReplaceAll(m[3], "v1.", ""))
}
