package poddir

import (
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"
)

// usernsLimit is far more than kubelet writes.
const usernsLimit = 64 << 10

// An IDMap maps user or group ids of a pod to the host's.
type IDMap struct {
	Host      uint32 `json:"hostId"`
	Container uint32 `json:"containerId"`
	Length    uint32 `json:"length"`
}

// A UserNamespace is how a pod's ids are mapped.
type UserNamespace struct {
	UIDs []IDMap `json:"uidMappings"`
	GIDs []IDMap `json:"gidMappings"`
}

// UserNamespace returns the mapping that kubelet chose for the pod and keeps in
// ROOT/pods/UID/userns (userns/userns_manager.go). A pod with the host's users
// has none: [errdefs.ErrNotFound]. What is no mapping is [errdefs.ErrDataLoss].
func (d Dir) UserNamespace() (UserNamespace, error) {
	root, err := d.open()
	if err != nil {
		return UserNamespace{}, err
	}
	defer root.Close()
	text, err := read(root, "userns", usernsLimit)
	if err != nil {
		return UserNamespace{}, fmt.Errorf("user namespace of the pod in %s: %w", d.path, err)
	}
	var u UserNamespace
	if err := json.Unmarshal(text, &u); err != nil {
		return UserNamespace{}, fmt.Errorf("user namespace of the pod in %s: %w: %w", d.path, err, errdefs.ErrDataLoss)
	}
	for _, maps := range [][]IDMap{u.UIDs, u.GIDs} {
		if len(maps) == 0 || maps[0].Length == 0 {
			return UserNamespace{}, fmt.Errorf("user namespace of the pod in %s: it maps no users or no groups: %w", d.path, errdefs.ErrDataLoss)
		}
	}
	return u, nil
}
