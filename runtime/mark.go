package runtime

import (
	"fmt"
	"time"

	"github.com/containerd/errdefs"
)

// The labels by which Porthole knows its containers. They hold what is fixed at
// creation; kubelet ignores them. A container without LabelSession is never
// touched.
const (
	LabelSession = "porthole.dev/session"
	LabelOwner   = "porthole.dev/owner"
	LabelTarget  = "porthole.dev/target"
	LabelExpires = "porthole.dev/expires"
	LabelKeeper  = "porthole.dev/keeper"
)

// Mark is what a debug container says of itself in its labels.
type Mark struct {
	Session string
	Owner   string    // who asked for it
	Target  string    // name of the container whose processes it shares, may be empty
	Expires time.Time // when it may be removed whoever watches it; zero for never
	// Keeper is the process that removes it at its end, in the words of nsjoin's
	// Identity.
	Keeper string
}

// IsOurs reports whether labels are those of a container that Porthole made.
func IsOurs(labels map[string]string) bool { return labels[LabelSession] != "" }

// Labels renders the mark. Empty values are left out.
func (m Mark) Labels() map[string]string {
	out := map[string]string{LabelSession: m.Session}
	for key, value := range map[string]string{LabelOwner: m.Owner, LabelTarget: m.Target, LabelKeeper: m.Keeper} {
		if value != "" {
			out[key] = value
		}
	}
	if !m.Expires.IsZero() {
		out[LabelExpires] = m.Expires.UTC().Format(time.RFC3339)
	}
	return out
}

// ReadMark is the inverse of [Mark.Labels]. Labels without a session are not
// ours: ErrNotFound. An expiry that cannot be read counts as passed at
// creation, so that damage can only shorten a session.
func ReadMark(labels map[string]string) (Mark, error) {
	if !IsOurs(labels) {
		return Mark{}, fmt.Errorf("no label %s: %w", LabelSession, errdefs.ErrNotFound)
	}
	m := Mark{
		Session: labels[LabelSession],
		Owner:   labels[LabelOwner],
		Target:  labels[LabelTarget],
		Keeper:  labels[LabelKeeper],
	}
	if text, ok := labels[LabelExpires]; ok {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			at = time.Unix(0, 0)
		}
		m.Expires = at
	}
	return m, nil
}
