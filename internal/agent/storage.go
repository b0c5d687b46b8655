package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/porthole-project/porthole/runtime"
)

// ErrStorage is the cause of a session's end when it wrote more than it may.
var ErrStorage = errors.New("the session has written more than --storage-limit allows")

// What a session writes counts to the pod's ephemeral storage, for which
// kubelet evicts the whole pod (eviction manager, localStorageEviction). No
// runtime limits a container's writable layer over the CRI, so it is looked at.
const (
	storageEvery = 5 * time.Second
	storageLarge = 100 << 20 // bytes; the first warning, then at each doubling
)

// watchStorage warns of a session that writes much, and ends one that writes
// more than its cap.
func (e *Engine) watchStorage(ctx context.Context, p *Prepared, c Container, end func(why error)) {
	limit := p.order.Caps.Storage
	warnAt := int64(storageLarge)
	if limit > 0 {
		warnAt = limit - limit/5
	}
	tick := time.NewTicker(storageEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		used := e.written(ctx, p.Plan, c)
		switch {
		case limit > 0 && used > limit:
			end(fmt.Errorf("%w (%s of %s); it is removed before kubelet evicts the pod for it", ErrStorage, size(used), size(limit)))
			return
		case used >= warnAt:
			e.Notice(fmt.Sprintf("Warning: this session has written %s (files and log); it counts to the pod's ephemeral storage, for which kubelet evicts pods.", size(used)))
			for warnAt <= used {
				warnAt *= 2
			}
		}
	}
}

// written is what the session has on disk, as far as it can be told.
func (e *Engine) written(ctx context.Context, plan *runtime.Plan, c Container) int64 {
	var total int64
	if meter, ok := c.(Meter); ok {
		if n, err := meter.Written(ctx); err == nil {
			total = n
		}
	}
	_ = filepath.WalkDir(filepath.Join(plan.LogDirectory, plan.Name), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // what vanishes meanwhile takes no space
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}

// size writes a number of bytes for people.
func size(n int64) string {
	const unit = 1 << 20
	if n < unit {
		return fmt.Sprintf("%d KiB", (n+1023)>>10)
	}
	return fmt.Sprintf("%d MiB", n/unit)
}
