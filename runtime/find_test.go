package runtime

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

// at is a moment of these tests' day.
func at(second int) time.Time { return time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC) }

// podID and containerID make IDs of full length that begin as said.
func podID(prefix string) string { return prefix + strings.Repeat("0", 64-len(prefix)) }

func node() ([]Pod, []Container) {
	pods := []Pod{
		{ID: podID("aaaa1"), Namespace: "prod", Name: "web", UID: "u1", State: Ready, Created: at(1)},
		{ID: podID("aaaa2"), Namespace: "test", Name: "web", UID: "u2", State: Ready, Created: at(1)},
		{ID: podID("bbbb1"), Namespace: "prod", Name: "db", UID: "u3", State: NotReady, Created: at(1)},
		{ID: podID("bbbb2"), Namespace: "prod", Name: "db", UID: "u3", State: Ready, Created: at(5), Attempt: 1},
		{ID: podID("cccc1"), Namespace: "kube-system", Name: "beef", UID: "u4", State: Ready, Created: at(1)},
		{ID: podID("beef1"), Namespace: "prod", Name: "cow", UID: "u5", State: Ready, Created: at(1)},
		{ID: podID("dddd1"), Namespace: "prod", Name: "gone", UID: "u6", State: NotReady, Created: at(1)},
	}
	containers := []Container{
		{ID: podID("1111a"), PodID: podID("aaaa1"), Name: "app"},
		{ID: podID("1111b"), PodID: podID("aaaa2"), Name: "app"},
		{ID: podID("2222a"), PodID: podID("bbbb1"), Name: "app"}, // of the dead sandbox
	}
	return pods, containers
}

func TestFind(t *testing.T) {
	pods, containers := node()
	for _, c := range []struct {
		text, namespace string
		pod, container  string // IDs' beginnings
	}{
		{"prod/web", "", "aaaa1", ""},
		{"web", "test", "aaaa2", ""},
		{"db", "", "bbbb2", ""},   // not the dead sandbox
		{"gone", "", "dddd1", ""}, // a dead one that is the only one is shown
		{"beef", "", "cccc1", ""}, // a name wins over an ID
		{"beef1", "", "beef1", ""},
		{"aaaa1", "", "aaaa1", ""},
		{podID("aaaa2"), "", "aaaa2", ""},
		{"1111a", "", "aaaa1", "1111a"},
		{"1111", "test", "aaaa2", "1111b"}, // -n makes it one
		{"aaaa", "prod", "aaaa1", ""},
	} {
		ref, err := ParseRef(c.text, c.namespace)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Find(ref, pods, containers)
		if err != nil || !strings.HasPrefix(m.Pod.ID, c.pod) {
			t.Errorf("%q in %q: pod %.5s, %v; want %s", c.text, c.namespace, m.Pod.ID, err, c.pod)
			continue
		}
		got := ""
		if m.Container != nil {
			got = m.Container.ID
		}
		if (got == "") != (c.container == "") || !strings.HasPrefix(got, c.container) {
			t.Errorf("%q in %q: container %.5s, want %s", c.text, c.namespace, got, c.container)
		}
	}
}

func TestFindRefuses(t *testing.T) {
	pods, containers := node()
	for _, c := range []struct {
		text, namespace string
		is              func(error) bool
		says            []string
	}{
		{"web", "", errdefs.IsFailedPrecondition, []string{"web is ambiguous", "2 pods", "prod/web (aaaa100000000)", "test/web (aaaa200000000)", "NAMESPACE/NAME"}},
		{"aaaa", "", errdefs.IsFailedPrecondition, []string{"aaaa is ambiguous", "prod/web", "test/web"}},
		{"1111", "", errdefs.IsFailedPrecondition, []string{"prod/web", "test/web"}},
		{"nope", "", errdefs.IsNotFound, []string{"no pod nope on this node", "kube-system/beef", "prod/db (bbbb200000000)"}},
		{"web", "other", errdefs.IsNotFound, []string{"no pod other/web", "prod/web"}},
		{"pod/beef1", "", errdefs.IsNotFound, []string{"no pod beef1"}}, // a name, so not an ID
		{"2222a", "", errdefs.IsNotFound, []string{"no pod 2222a"}},     // its sandbox is dead
		{"bbbb1", "", errdefs.IsNotFound, []string{"no pod bbbb1"}},     // so is this one
		{"1111a", "test", errdefs.IsNotFound, []string{"test/1111a"}},
	} {
		ref, err := ParseRef(c.text, c.namespace)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Find(ref, pods, containers)
		if !c.is(err) {
			t.Errorf("%q in %q: %+v, %v: not of the class wanted", c.text, c.namespace, m, err)
			continue
		}
		for _, want := range c.says {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q in %q: %q does not say %q", c.text, c.namespace, err, want)
			}
		}
		if strings.Contains(err.Error(), "bbbb100") {
			t.Errorf("%q: a dead sandbox is offered: %v", c.text, err)
		}
	}
}

func TestFindOnAnEmptyNode(t *testing.T) {
	_, err := Find(Ref{Name: "web"}, nil, nil)
	if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "no pods at all") {
		t.Error(err)
	}
}

func TestFindListsABoundedNumberOfCandidates(t *testing.T) {
	var pods []Pod
	for i := range 40 {
		pods = append(pods, Pod{ID: podID(fmt.Sprintf("%04d", i)), Namespace: "prod", Name: fmt.Sprintf("web-%02d", i), State: Ready})
	}
	_, err := Find(Ref{Name: "web"}, pods, nil)
	if got := strings.Count(err.Error(), "prod/web-"); got != maxCandidates || !strings.Contains(err.Error(), "and 28 more") {
		t.Errorf("%d candidates: %v", got, err)
	}
}

// The newest sandbox is the pod even if it is not ready yet, unless an older
// one is.
func TestLive(t *testing.T) {
	for _, c := range []struct {
		what string
		pods []Pod
		want string
	}{
		{"ready before newer", []Pod{{ID: "old", State: Ready, Created: at(1)}, {ID: "new", State: NotReady, Created: at(2)}}, "old"},
		{"newer of two ready", []Pod{{ID: "old", State: Ready, Created: at(1)}, {ID: "new", State: Ready, Created: at(2)}}, "new"},
		{"newer of two dead", []Pod{{ID: "new", State: NotReady, Created: at(2)}, {ID: "old", State: NotReady, Created: at(1)}}, "new"},
		{"higher attempt at the same time", []Pod{{ID: "old", State: Ready, Created: at(1)}, {ID: "new", State: Ready, Created: at(1), Attempt: 1}}, "new"},
	} {
		got := live(c.pods)
		if len(got) != 1 || got[0].ID != c.want {
			t.Errorf("%s: %+v", c.what, got)
		}
	}
	// A pod that was deleted and made again is another pod.
	if got := live([]Pod{{ID: "1", UID: "a"}, {ID: "2", UID: "b"}}); len(got) != 2 {
		t.Errorf("pods of two UIDs: %+v", got)
	}
}

func TestNewest(t *testing.T) {
	got := Newest([]Container{
		{ID: "3", PodID: "p", Name: "b", Created: at(3)},
		{ID: "1", PodID: "p", Name: "a", Created: at(1)},
		{ID: "2", PodID: "p", Name: "a", Created: at(2), Attempt: 1},
		{ID: "5", PodID: "p", Name: "c", Created: at(3), Attempt: 1},
		{ID: "4", PodID: "p", Name: "c", Created: at(3)},
		{ID: "6", PodID: "q", Name: "a", Created: at(0)},
	})
	var ids strings.Builder
	for _, c := range got {
		ids.WriteString(c.ID)
	}
	if ids.String() != "6235" {
		t.Errorf("got %s, want 6235", ids.String())
	}
}
