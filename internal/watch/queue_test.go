package watch

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestQueue(t *testing.T) {
	m, c, cw := func(n string) Event { return Event{n, Modify} }, func(n string) Event { return Event{n, Create} }, func(n string) Event { return Event{n, CloseWrite} }
	overflow, gone := Event{Op: Overflow}, Event{Op: Gone}
	for name, tc := range map[string]struct {
		in   []Event
		want string
	}{
		"writes join":          {[]Event{m("a"), m("a"), m("a")}, "[modify a]"},
		"two busy writers":     {[]Event{m("a"), m("b"), m("a"), m("b"), m("a")}, "[modify a modify b]"},
		"nothing else joins":   {[]Event{cw("a"), cw("a")}, "[close-write a close-write a]"},
		"write after closing":  {[]Event{m("a"), cw("a"), m("a"), m("a")}, "[modify a close-write a modify a]"},
		"write, other closed":  {[]Event{m("a"), cw("b"), m("a")}, "[modify a close-write b]"},
		"full":                 {[]Event{c("a"), c("b"), c("c"), c("d"), c("e")}, "[overflow]"},
		"full, then more":      {[]Event{c("a"), c("b"), c("c"), c("d"), c("e"), cw("a")}, "[overflow close-write a]"},
		"full of one writer":   {slices.Repeat([]Event{m("a")}, 100), "[modify a]"},
		"write after full":     {[]Event{m("a"), c("b"), c("c"), c("d"), c("e"), m("a")}, "[overflow modify a]"},
		"write after kernel's": {[]Event{m("a"), overflow, m("a")}, "[modify a overflow modify a]"},
		"gone when full":       {[]Event{c("a"), c("b"), c("c"), c("d"), gone}, "[create a create b create c create d gone]"},
		"none":                 {nil, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(4)
			q.put(tc.in)
			if n := len(q.ready); (n == 1) != (len(tc.in) > 0) {
				t.Errorf("%d tokens for %d events", n, len(tc.in))
			}
			if got := fmt.Sprint(drain(q)); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if len(q.writes) != 0 {
				t.Errorf("marks left: %v", q.writes)
			}
		})
	}
}

func drain(q *queue) []Event {
	var events []Event
	for {
		e, ok := q.take()
		if !ok {
			return events
		}
		events = append(events, e)
	}
}

// TestQueueWriteAfterTake: once a Modify is on its way to the consumer, who may
// have looked already, the next write is news.
func TestQueueWriteAfterTake(t *testing.T) {
	q := newQueue(4)
	q.put([]Event{{"a", Modify}})
	if _, ok := q.take(); !ok {
		t.Fatal("nothing there")
	}
	q.put([]Event{{"a", Modify}})
	if _, ok := q.take(); !ok {
		t.Error("the second write is lost")
	}
}

// raw builds what the kernel would write, the name padded to a multiple of 16.
func raw(bits uint32, name string) []byte {
	pad := 0
	if name != "" {
		pad = (len(name) + 16) / 16 * 16
	}
	buf := make([]byte, unix.SizeofInotifyEvent+pad)
	binary.NativeEndian.PutUint32(buf[4:], bits)
	binary.NativeEndian.PutUint32(buf[12:], uint32(pad))
	copy(buf[unix.SizeofInotifyEvent:], name)
	return buf
}

func TestDecode(t *testing.T) {
	for name, tc := range map[string]struct {
		buf  []byte
		want string
		bad  bool
	}{
		"empty":      {nil, "[]", false},
		"several":    {slices.Concat(raw(unix.IN_CREATE, "0.log"), raw(unix.IN_MODIFY, "0.log"), raw(unix.IN_CLOSE_WRITE, "0.log")), "[create 0.log modify 0.log close-write 0.log]", false},
		"rename":     {slices.Concat(raw(unix.IN_MOVED_FROM, "a"), raw(unix.IN_MOVED_TO, "b"), raw(unix.IN_DELETE, "b")), "[moved-from a moved-to b delete b]", false},
		"directory":  {raw(unix.IN_CREATE|unix.IN_ISDIR, "sub"), "[create sub]", false},
		"16 bytes":   {raw(unix.IN_CREATE, "0123456789abcdef"), "[create 0123456789abcdef]", false},
		"overflow":   {raw(unix.IN_Q_OVERFLOW, ""), "[overflow]", false},
		"removed":    {slices.Concat(raw(unix.IN_DELETE_SELF, ""), raw(unix.IN_IGNORED, "")), "[gone gone]", false},
		"renamed":    {raw(unix.IN_MOVE_SELF, ""), "[gone]", false},
		"unmounted":  {raw(unix.IN_UNMOUNT, ""), "[gone]", false},
		"not asked":  {raw(unix.IN_OPEN, "a"), "[]", false},
		"cut header": {raw(unix.IN_CREATE, "a")[:7], "[]", true},
		"cut name":   {raw(unix.IN_CREATE, "a")[:20], "[]", true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decode(tc.buf)
			if fmt.Sprint(got) != tc.want || (err != nil) != tc.bad {
				t.Errorf("got %v, %v, want %s", got, err, tc.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(slices.Concat(raw(unix.IN_CREATE, "0.log"), raw(unix.IN_Q_OVERFLOW, "")))
	f.Fuzz(func(t *testing.T, buf []byte) {
		events, _ := decode(buf)
		if len(events) > len(buf)/unix.SizeofInotifyEvent {
			t.Errorf("%d events in %d bytes", len(events), len(buf))
		}
	})
}

func TestOp(t *testing.T) {
	if got := (Create | CloseWrite).String(); got != "create|close-write" {
		t.Error(got)
	}
	if got := (Event{Op: Overflow}).String(); got != "overflow" {
		t.Error(got)
	}
	if Create.Has(Create|Delete) || !(Create | Delete).Has(Delete) {
		t.Error("Has")
	}
}
