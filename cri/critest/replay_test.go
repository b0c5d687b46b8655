package critest_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/porthole-project/porthole/cri/critest"
)

// TestReplay sends every recorded call, in order, to a server made from the recording, and holds the answer against
// the recorded one. Only what a runtime makes up (IDs, times, pids, tokens) may differ, and it must be made up alike.
func TestReplay(t *testing.T) {
	for name, rows := range map[string]int{"containerd-2.4.2": 70, "crio-1.37": 51} {
		t.Run(name, func(t *testing.T) {
			s := critest.New(t, critest.WithRecording(critest.Load(t, name)))
			conn := dial(t, s)
			all := s.Recording().Rows()
			if len(all) != rows {
				t.Fatalf("the recording has %d rows, want %d", len(all), rows)
			}
			if s.Flavor() == critest.CRIO { // whose callers make log directories themselves
				mkdir(t, filepath.Join(s.LogRoot(), "rec"))
			}
			ids := map[string]string{} // recorded ID of a created container → the server's
			for i, row := range all {
				req := translate(t, row.Request, ids, false)
				full, resp := method(t, row.Method)
				err := conn.Invoke(t.Context(), full, req, resp)
				if want, ok := row.Response.(*runtimeapi.CreateContainerResponse); ok && err == nil {
					ids[want.GetContainerId()] = resp.(*runtimeapi.CreateContainerResponse).GetContainerId()
				}
				compare(t, i, row, translate(t, resp, ids, true), err, ids)
			}
			if calls := s.Calls(); len(calls) != rows {
				t.Errorf("%d calls recorded, want %d", len(calls), rows)
			}
			if len(ids) < 2 {
				t.Errorf("the recording created %d containers", len(ids))
			}
		})
	}
}

func compare(t *testing.T, i int, row critest.Row, resp proto.Message, err error, ids map[string]string) {
	t.Helper()
	got := status.Convert(err)
	if got.Code() != row.Code {
		t.Errorf("row %d, %s (%s): code %v, want %v (%s)", i, row.Method, row.Why, got.Code(), row.Code, got.Message())
		return
	}
	if g, w := mask(back(got.Message(), ids), row), mask(row.Message, row); g != w {
		t.Errorf("row %d, %s (%s): message\n got %s\nwant %s", i, row.Method, row.Why, g, w)
	}
	if row.Response == nil {
		return
	}
	_, made := ids[containerOf(row.Request)]
	g, w := plain(t, resp, made), plain(t, row.Response, made)
	if !reflect.DeepEqual(g, w) {
		t.Errorf("row %d, %s (%s): response\n got %s\nwant %s", i, row.Method, row.Why, indent(t, g), indent(t, w))
	}
}

func containerOf(req proto.Message) string {
	named, ok := req.(interface{ GetContainerId() string })
	if !ok {
		return ""
	}
	return named.GetContainerId()
}

var (
	anID   = regexp.MustCompile(`[0-9a-f]{64}`)
	aTime  = regexp.MustCompile(`time="[^"]+"`)
	aToken = regexp.MustCompile(`^http://127\.0\.0\.1:\d+/attach/[0-9A-Za-z_-]{8}$`)
	aPidns = regexp.MustCompile(`^/run/crio/ns/pidns/pid\d+$`)
)

// mask hides what the runtime made up for the message: the time, and an ID that the request does not know.
func mask(message string, row critest.Row) string {
	known := protojson.Format(row.Request)
	message = anID.ReplaceAllStringFunc(message, func(id string) string {
		if strings.Contains(known, id) || strings.Contains(message, `reserved for "`+id) {
			return id
		}
		return "<id>"
	})
	return aTime.ReplaceAllString(message, `time="<time>"`)
}

// plain turns a response into plain values. In the status of a container that the call before created (made), and
// in URLs, what a runtime makes up becomes a word for it.
func plain(t *testing.T, m proto.Message, made bool) map[string]any {
	t.Helper()
	raw, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	o := decode(t, raw)
	if url, ok := o["url"].(string); ok {
		o["url"] = aToken.ReplaceAllString(url, "<url>")
	}
	if !made {
		return o
	}
	if st, ok := o["status"].(map[string]any); ok {
		for _, key := range []string{"createdAt", "startedAt", "finishedAt"} {
			if _, ok := st[key]; ok {
				st[key] = "<time>"
			}
		}
	}
	if outer, ok := o["info"].(map[string]any); ok {
		info := decode(t, []byte(outer["info"].(string)))
		plainInfo(info)
		outer["info"] = info
	}
	return o
}

func plainInfo(info map[string]any) {
	if info["pid"] != json.Number("0") {
		info["pid"] = "<pid>"
	}
	spec := info["runtimeSpec"].(map[string]any)
	if a := spec["annotations"].(map[string]any); a["io.kubernetes.cri-o.Created"] != nil {
		a["io.kubernetes.cri-o.Created"] = "<time>"
	}
	for _, ns := range spec["linux"].(map[string]any)["namespaces"].([]any) {
		if p, ok := ns.(map[string]any)["path"].(string); ok {
			ns.(map[string]any)["path"] = aPidns.ReplaceAllString(p, "<pidns>")
		}
	}
}

func decode(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var o map[string]any
	if err := dec.Decode(&o); err != nil {
		t.Fatal(err)
	}
	return o
}

// translate returns the message with the recorded IDs of created containers in place of the server's, or reversed.
func translate(t *testing.T, m proto.Message, ids map[string]string, reverse bool) proto.Message {
	t.Helper()
	raw, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	if reverse {
		text = back(text, ids)
	} else {
		for recorded, ours := range ids {
			text = strings.ReplaceAll(text, recorded, ours)
		}
	}
	out := m.ProtoReflect().New().Interface()
	if err := protojson.Unmarshal([]byte(text), out); err != nil {
		t.Fatal(err)
	}
	return out
}

func back(text string, ids map[string]string) string {
	for recorded, ours := range ids {
		text = strings.ReplaceAll(text, ours, recorded)
	}
	return text
}

func indent(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
