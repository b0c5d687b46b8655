package critest

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

//go:embed testdata/*.json
var recordings embed.FS

// Row is one call that a real runtime answered.
type Row struct {
	Why      string        // the edge that the call tests; empty for the inventory
	Method   string        // CRI method name, without its service
	Request  proto.Message // never nil
	Response proto.Message // nil when Code is not OK
	Code     codes.Code
	Message  string
}

// Recording is what one runtime answered on one node, in the order of the calls.
type Recording struct {
	name string
	raw  []byte
	rows []Row
}

// Load returns a recording that is embedded in the package: "containerd-2.4.2" or "crio-1.37". It ends the test when
// there is none of that name.
func Load(t testing.TB, name string) *Recording {
	t.Helper()
	raw, err := recordings.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatalf("recording %q: %v", name, err)
	}
	rec, err := parseRecording(name, raw)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// Rows returns the recorded calls. They are shared: clone a message before changing it.
func (r *Recording) Rows() []Row { return slices.Clone(r.rows) }

// Flavor returns whose manners the recorded runtime has, by the name that it gave itself.
func (r *Recording) Flavor() Flavor {
	for _, row := range r.rows {
		if v, ok := row.Response.(*runtimeapi.VersionResponse); ok {
			return Flavor(v.GetRuntimeName())
		}
	}
	return ""
}

// moved returns the recording of the same node with one of its directories elsewhere.
func (r *Recording) moved(from, to string) (*Recording, error) {
	return parseRecording(r.name, bytes.ReplaceAll(r.raw, []byte(from), []byte(to)))
}

func parseRecording(name string, raw []byte) (*Recording, error) {
	var entries []struct {
		Why, Method, Code, Message string
		Request, Response          json.RawMessage
	}
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, fmt.Errorf("recording %q: %w", name, err)
	}
	rec := &Recording{name: name, raw: raw}
	for i, e := range entries {
		row := Row{Why: e.Why, Method: e.Method, Message: e.Message}
		var err error
		if row.Code, err = parseCode(e.Code); err == nil {
			row.Request, err = parseMessage(e.Method+"Request", e.Request)
		}
		if err == nil && row.Code == codes.OK {
			row.Response, err = parseMessage(e.Method+"Response", e.Response)
		}
		if err != nil {
			return nil, fmt.Errorf("recording %q, row %d (%s): %w", name, i, e.Method, err)
		}
		rec.rows = append(rec.rows, row)
	}
	return rec, nil
}

func parseMessage(name string, raw []byte) (proto.Message, error) {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("runtime.v1." + name))
	if err != nil {
		return nil, err
	}
	m := kind.New().Interface()
	return m, protojson.Unmarshal(raw, m)
}

func parseCode(name string) (codes.Code, error) {
	if name == "" {
		return codes.OK, nil
	}
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		if c.String() == name {
			return c, nil
		}
	}
	return 0, fmt.Errorf("no gRPC code is called %q", name)
}
