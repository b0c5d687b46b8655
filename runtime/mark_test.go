package runtime

import (
	"maps"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

func TestMarkRoundTrip(t *testing.T) {
	for _, m := range []Mark{
		{Session: "abc"},
		{Session: "abc", Owner: "jane", Target: "app", Keeper: "boot-1-2", Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		{Session: "abc", Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))},
	} {
		got, err := ReadMark(m.Labels())
		if err != nil {
			t.Fatal(err)
		}
		if !got.Expires.Equal(m.Expires) {
			t.Errorf("expires %v, want %v", got.Expires, m.Expires)
		}
		got.Expires = m.Expires
		if got != m {
			t.Errorf("got %+v, want %+v", got, m)
		}
	}
}

func TestMarkLabels(t *testing.T) {
	if got := (Mark{Session: "abc"}).Labels(); !maps.Equal(got, map[string]string{LabelSession: "abc"}) {
		t.Errorf("empty values are labels: %v", got)
	}
	if got := (Mark{Session: "abc", Expires: time.Unix(0, 0)}).Labels()[LabelExpires]; got != "1970-01-01T00:00:00Z" {
		t.Errorf("expires %q is not UTC in RFC 3339", got)
	}
}

func TestReadMarkOfForeignLabels(t *testing.T) {
	for _, labels := range []map[string]string{nil, {"app": "web"}, {LabelSession: ""}, {LabelOwner: "jane", LabelExpires: "2026-01-02T03:04:05Z"}} {
		if m, err := ReadMark(labels); !errdefs.IsNotFound(err) {
			t.Errorf("%v: %+v, %v; want ErrNotFound", labels, m, err)
		}
	}
}

// Damage can only shorten a session: an expiry that cannot be read has passed,
// and is not "never".
func TestReadMarkDamagedExpiry(t *testing.T) {
	for _, text := range []string{"", "soon", "2026-01-02", "2026-13-02T03:04:05Z", "99999999999"} {
		m, err := ReadMark(map[string]string{LabelSession: "abc", LabelExpires: text})
		if err != nil || m.Expires.IsZero() || m.Expires.After(time.Unix(0, 0)) {
			t.Errorf("%q: %v, %v; want one long past", text, m.Expires, err)
		}
	}
}
