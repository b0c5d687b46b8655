package nsjoin

import (
	"fmt"
	"testing"
)

func TestCompare(t *testing.T) {
	a := Set{PID: {4, 4026532281}, Net: {4, 10}, User: {4, 30}}
	b := Set{PID: {4, 4026532198}, Net: {5, 10}, User: {4, 30}, IPC: {4, 20}}
	for name, tc := range map[string]struct {
		a, b  Set
		kinds []Kind
		want  string
	}{
		"equal":          {a, a, nil, "[]"},
		"all":            {a, b, nil, "[pid: 4026532281, want 4026532198 net: 10 on device 4, want device 5 ipc: unknown, want 20]"},
		"asked":          {a, b, []Kind{User}, "[]"},
		"asked, differs": {a, b, []Kind{User, PID}, "[pid: 4026532281, want 4026532198]"},
		"asked, unread":  {a, a, []Kind{User, Cgroup}, "[cgroup: unknown, want unknown]"},
		"nothing known":  {nil, nil, []Kind{PID}, "[pid: unknown, want unknown]"},
		"one side only":  {a, nil, []Kind{PID}, "[pid: 4026532281, want unknown]"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fmt.Sprint(Compare(tc.a, tc.b, tc.kinds...)); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
