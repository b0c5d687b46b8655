package cri

import (
	"bytes"
)

// record is one entry of a CRI log:
//
//	2026-01-02T15:04:05.999999999Z stdout F text
//
// The tag F ends a line, P does not: what follows continues it. (kubelet
// pkg/kubelet/kuberuntime/logs, containerd internal/cri/io/logger.go)
type record struct {
	stderr  bool
	full    bool
	content []byte
}

// maxRecord bounds one entry; runtimes cut lines at 16 KiB or less unless an
// administrator lifted that.
const maxRecord = 16 << 20

// parseRecord reads one line without its newline. ok is false for anything that
// is not an entry; such a line is skipped.
func parseRecord(line []byte) (r record, ok bool) {
	stamp, rest, ok1 := bytes.Cut(line, []byte{' '})
	stream, rest, ok2 := bytes.Cut(rest, []byte{' '})
	tags, content, ok3 := bytes.Cut(rest, []byte{' '})
	if !ok1 || !ok2 || !ok3 || len(stamp) < len("2006-01-02T15:04:05Z") || stamp[4] != '-' || stamp[10] != 'T' {
		return record{}, false
	}
	switch string(stream) {
	case "stdout":
	case "stderr":
		r.stderr = true
	default:
		return record{}, false
	}
	// Further tags may follow the first, behind colons.
	tag, _, _ := bytes.Cut(tags, []byte{':'})
	switch string(tag) {
	case "F":
		r.full = true
	case "P":
	default:
		return record{}, false
	}
	r.content = content
	return r, true
}
