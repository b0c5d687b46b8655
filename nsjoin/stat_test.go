package nsjoin

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

// statTail is everything after the state, with 556677 as the start time.
const statTail = " 1 81234 81234 0 -1 4194560 160 0 0 0 3 1 0 0 20 0 1 0 556677 2813952 242 18446744073709551615\n"

func TestParseStat(t *testing.T) {
	for name, tc := range map[string]struct {
		text, comm string
		state      byte
		bad        bool
	}{
		"plain":          {text: "81234 (sleep) S" + statTail, comm: "sleep", state: 'S'},
		"parentheses":    {text: "81234 ((sd-pam) x) S" + statTail, comm: "(sd-pam) x", state: 'S'},
		"looks like end": {text: "81234 (a) R 1 2 3) Z" + statTail, comm: "a) R 1 2 3", state: 'Z'},
		"empty name":     {text: "81234 () R" + statTail, comm: "", state: 'R'},
		"newline":        {text: "81234 (a\nb) R" + statTail, comm: "a\nb", state: 'R'},
		"empty":          {bad: true},
		"no name":        {text: "81234 S" + statTail, bad: true},
		"backwards":      {text: "81234 )sleep( S" + statTail, bad: true},
		"no pid":         {text: "(sleep) S" + statTail, bad: true},
		"pid too big":    {text: "4294967296 (sleep) S" + statTail, bad: true},
		"cut":            {text: "81234 (sleep) S 1 81234", bad: true},
		"long state":     {text: "81234 (sleep) SS" + statTail, bad: true},
		"no number":      {text: "81234 (sleep) S" + strings.Replace(statTail, "556677", "x", 1), bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat(tc.text)
			if tc.bad {
				if !errdefs.IsInvalidArgument(err) {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if want := (stat{81234, tc.comm, tc.state, 556677}); err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

func FuzzParseStat(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(own))
	f.Add("(sd-pam) x")
	f.Add(") S 1 2 3 (")
	f.Fuzz(func(t *testing.T, s string) {
		if st, err := parseStat(s); err == nil && st.pid < 1 {
			t.Errorf("%q: pid %d", s, st.pid)
		}
		// Whatever a process calls itself, the fields behind it stay the same.
		got, err := parseStat(fmt.Sprintf("81234 (%s) S%s", s, statTail))
		if want := (stat{81234, s, 'S', 556677}); err != nil || got != want {
			t.Errorf("name %q: got %+v, %v", s, got, err)
		}
	})
}
