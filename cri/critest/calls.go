package critest

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Call is one request that reached the server, whatever became of it.
type Call struct {
	Method  string        // CRI method name, without its service
	Request proto.Message // a copy
	At      time.Time
}

// journal records calls in the order of their arrival.
type journal struct {
	mu    sync.Mutex
	calls []Call
}

func (j *journal) add(method string, req proto.Message) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls = append(j.calls, Call{Method: method, Request: proto.Clone(req), At: time.Now()})
}

// Calls returns every call so far in order of arrival, those that a rule failed or still holds included. With
// methods, only calls of those.
func (s *Server) Calls(methods ...string) []Call {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	if len(methods) == 0 {
		return slices.Clone(s.journal.calls)
	}
	var some []Call
	for _, c := range s.journal.calls {
		if slices.Contains(methods, c.Method) {
			some = append(some, c)
		}
	}
	return some
}

// Created returns the request of every CreateContainer that arrived, the refused ones included.
func (s *Server) Created() []*runtimeapi.CreateContainerRequest {
	var reqs []*runtimeapi.CreateContainerRequest
	for _, c := range s.Calls("CreateContainer") {
		reqs = append(reqs, c.Request.(*runtimeapi.CreateContainerRequest))
	}
	return reqs
}
