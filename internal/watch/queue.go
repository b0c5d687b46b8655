package watch

import "sync"

// queueLimit is as many events as the kernel itself keeps by default
// (fs.inotify.max_queued_events), so this queue is never the narrower one.
const queueLimit = 16384

// queue holds events between the kernel and the consumer: first in, first out,
// bounded, with runs of writes to one file joined.
type queue struct {
	mu     sync.Mutex
	events []Event
	limit  int
	// writes holds the files whose newest queued event is a Modify: another
	// one would tell nothing new, however many other files are between.
	writes map[string]bool
	// ready has room for one token; there is one whenever events were put in
	// since the last take.
	ready chan struct{}
}

func newQueue(limit int) *queue {
	return &queue{limit: limit, writes: make(map[string]bool), ready: make(chan struct{}, 1)}
}

// put appends events. When they do not fit, all that is queued gives way to one
// Overflow: half a history is worse than a look at the directory.
func (q *queue) put(events []Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range events {
		if e.Op == Modify && q.writes[e.Name] {
			continue
		}
		if len(q.events) >= q.limit && !e.Op.Has(Gone) {
			q.events, e = nil, Event{Op: Overflow}
		}
		if e.Op.Has(Overflow) {
			clear(q.writes)
		} else if e.Op == Modify {
			q.writes[e.Name] = true
		} else {
			delete(q.writes, e.Name)
		}
		q.events = append(q.events, e)
	}
	if len(q.events) > 0 {
		select {
		case q.ready <- struct{}{}:
		default:
		}
	}
}

// take removes the oldest event.
func (q *queue) take() (Event, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.events) == 0 {
		return Event{}, false
	}
	e := q.events[0]
	q.events[0] = Event{}
	q.events = q.events[1:]
	if e.Op == Modify {
		// A write from now on may come after the consumer has looked.
		delete(q.writes, e.Name)
	}
	return e, true
}
