package cri

import (
	"bytes"
	"fmt"
	"io"
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

// lineBuffer cuts what is read into lines; an unfinished one waits for its end.
type lineBuffer struct {
	buf   []byte
	start int // of what is not yet delivered
}

// drain reads to the present end of the file.
func (l *lineBuffer) drain(file io.Reader, sink logSink) error {
	for {
		if l.start > 0 {
			l.buf = append(l.buf[:0], l.buf[l.start:]...)
			l.start = 0
		}
		old := len(l.buf)
		if cap(l.buf)-old < 64<<10 {
			grown := make([]byte, old, 2*cap(l.buf)+256<<10)
			copy(grown, l.buf)
			l.buf = grown
		}
		n, err := file.Read(l.buf[old:cap(l.buf)])
		l.buf = l.buf[:old+n]
		l.deliver(old, sink)
		if len(l.buf)-l.start > maxRecord {
			return fmt.Errorf("an entry is longer than %d bytes", maxRecord)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (l *lineBuffer) deliver(from int, sink logSink) {
	for {
		end := bytes.IndexByte(l.buf[from:], '\n')
		if end < 0 {
			return
		}
		if r, ok := parseRecord(l.buf[l.start : from+end]); ok {
			sink.record(r)
		}
		from += end + 1
		l.start = from
	}
}
