package nsjoin

import (
	"fmt"
	"slices"
	"strconv"
)

// Kind is one kind of Linux namespace. Its value is the name of the link under
// /proc/PID/ns, so it can be printed and joined to a path as it is.
type Kind string

// The kinds that a pod's containers share or have to themselves. The time
// namespace is not among them: no CRI runtime makes one.
const (
	PID    Kind = "pid"
	Net    Kind = "net"
	IPC    Kind = "ipc"
	UTS    Kind = "uts"
	User   Kind = "user"
	Mount  Kind = "mnt"
	Cgroup Kind = "cgroup"
)

// Kinds returns every Kind in the order in which they are read and reported.
// The slice belongs to the caller.
func Kinds() []Kind {
	return []Kind{PID, Net, IPC, UTS, User, Mount, Cgroup}
}

// ID names one namespace for as long as it exists. Two namespaces are the same
// exactly when both numbers are equal (namespaces(7)); after a namespace is gone
// the kernel may hand its inode to a new one, so an ID alone says nothing about
// yesterday.
type ID struct {
	Device uint64
	Inode  uint64
}

// String returns the inode, the number that lsns(8) and the links in
// /proc/PID/ns show, or "unknown" for the zero ID.
func (id ID) String() string {
	if id == (ID{}) {
		return "unknown"
	}
	return strconv.FormatUint(id.Inode, 10)
}

// Set is the namespaces of one process. A kind that the kernel was built
// without is absent.
type Set map[Kind]ID

// Mismatch is one kind in which two processes live apart, or of which nothing
// is known for at least one of them.
type Mismatch struct {
	Kind Kind
	// A is what was found, B what was wanted. The zero ID means unknown.
	A, B ID
}

// String returns the mismatch as `pid: 4026532281, want 4026532198`.
func (m Mismatch) String() string {
	if m.A.Inode == m.B.Inode && m.A != m.B {
		return fmt.Sprintf("%s: %s on device %d, want device %d", m.Kind, m.A, m.A.Device, m.B.Device)
	}
	return fmt.Sprintf("%s: %s, want %s", m.Kind, m.A, m.B)
}

// Compare returns the kinds in which a, what was found, differs from b, what
// was wanted; nil means equal. Asked for particular kinds, a kind that either
// set lacks counts as a mismatch, because nothing is proved about it. Asked for
// none, every kind present in either set is compared.
func Compare(a, b Set, kinds ...Kind) []Mismatch {
	if len(kinds) == 0 {
		kinds = slices.DeleteFunc(Kinds(), func(k Kind) bool {
			_, inA := a[k]
			_, inB := b[k]
			return !inA && !inB
		})
	}
	var apart []Mismatch
	for _, k := range kinds {
		idA, inA := a[k]
		idB, inB := b[k]
		if !inA || !inB || idA != idB {
			apart = append(apart, Mismatch{Kind: k, A: idA, B: idB})
		}
	}
	return apart
}
