package critest

import (
	"context"
	"path"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Rule scripts what happens to calls of one method. Rules of a method are asked in the order in which they were
// made, and the first that matches and is not used up takes the call, so a rule without a fault lets calls through:
//
//	s.On("ContainerStatus").Times(2)                            // the first two are answered,
//	s.On("ContainerStatus").Fail(codes.Unavailable, "gone").Times(1) // the third fails, and the rest are answered
//
// The parts of one rule happen in the order delay, hang, failure; then the effect of the call, then After. With
// AfterEffect the first three come after the effect: the runtime has done the work and the answer is lost.
type Rule struct {
	set    *ruleSet
	method string
	left   int // calls it still takes; negative: no end
	when   func(proto.Message) bool
	delay  time.Duration
	hang   bool
	fail   error
	late   bool
	after  func(req, resp proto.Message, err error) error
}

type ruleSet struct {
	mu    sync.Mutex
	rules []*Rule
}

// On adds a rule for a CRI method, such as "CreateContainer". Rules may be added while the server is in use.
func (s *Server) On(method string) *Rule {
	r := &Rule{set: &s.rules, method: method, left: -1}
	s.rules.mu.Lock()
	defer s.rules.mu.Unlock()
	s.rules.rules = append(s.rules.rules, r)
	return r
}

func (r *Rule) edit(change func()) *Rule {
	r.set.mu.Lock()
	defer r.set.mu.Unlock()
	change()
	return r
}

// Fail answers with the code and the message.
func (r *Rule) Fail(code codes.Code, message string) *Rule {
	return r.edit(func() { r.fail = status.Error(code, message) })
}

// Delay holds the call for d. It does not end with the client's context: as in a real runtime, the effect of a call
// whose client gave up happens all the same, only later.
func (r *Rule) Delay(d time.Duration) *Rule { return r.edit(func() { r.delay = d }) }

// Hang holds the call until the client's context ends or the server stops, and then fails it.
func (r *Rule) Hang() *Rule { return r.edit(func() { r.hang = true }) }

// AfterEffect moves the rule's delay, hang and failure behind the effect of the call.
func (r *Rule) AfterEffect() *Rule { return r.edit(func() { r.late = true }) }

// Times limits the rule to the next n calls that match it.
func (r *Rule) Times(n int) *Rule { return r.edit(func() { r.left = n }) }

// When limits the rule to requests for which match is true; those it refuses do not count for Times.
func (r *Rule) When(match func(req proto.Message) bool) *Rule {
	return r.edit(func() { r.when = match })
}

// After lets change alter the answer: resp in place when err is nil (it is a copy that nobody shares), or the
// outcome by the error that it returns, which replaces err. Returning nil for an err answers with an empty response.
func (r *Rule) After(change func(req, resp proto.Message, err error) error) *Rule {
	return r.edit(func() { r.after = change })
}

// take returns a copy of the rule that the call falls to, the zero Rule if there is none.
func (set *ruleSet) take(method string, req proto.Message) Rule {
	set.mu.Lock()
	defer set.mu.Unlock()
	i := slices.IndexFunc(set.rules, func(r *Rule) bool {
		return r.method == method && r.left != 0 && (r.when == nil || r.when(req))
	})
	if i < 0 {
		return Rule{}
	}
	if set.rules[i].left > 0 {
		set.rules[i].left--
	}
	return *set.rules[i]
}

// fault carries out the delay, the hang and the failure of a rule.
func (r Rule) fault(ctx context.Context, stopped <-chan struct{}) error {
	gone := status.Error(codes.Unavailable, "the server is stopping")
	if r.delay > 0 {
		timer := time.NewTimer(r.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-stopped:
			return gone
		}
	}
	if r.hang {
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-stopped:
			return gone
		}
	}
	return r.fail
}

// unary puts the journal and the rules around every unary call.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	method, msg := path.Base(info.FullMethod), req.(proto.Message)
	s.journal.add(method, msg)
	rule := s.rules.take(method, msg)
	if !rule.late {
		if err := rule.fault(ctx, s.stopped); err != nil {
			return nil, err
		}
	}
	resp, err := handle(ctx, proto.Clone(msg))
	if rule.late {
		if err := rule.fault(ctx, s.stopped); err != nil {
			return nil, err
		}
	}
	if rule.after == nil {
		return resp, err
	}
	answer, _ := resp.(proto.Message)
	if err != nil {
		answer, resp = nil, emptyResponse(method)
	}
	return resp, rule.after(msg, answer, err)
}

func emptyResponse(method string) any {
	m, err := parseMessage(method+"Response", []byte("{}"))
	if err != nil {
		return nil
	}
	return m
}

// stream puts the journal and the faults that come before the effect around every streaming call.
func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return handle(srv, &openingStream{ServerStream: ss, s: s, method: path.Base(info.FullMethod)})
}

// openingStream sees the one request of a server-streaming call on its way in.
type openingStream struct {
	grpc.ServerStream
	s      *Server
	method string
}

func (o *openingStream) RecvMsg(m any) error {
	if err := o.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	msg := m.(proto.Message)
	o.s.journal.add(o.method, msg)
	return o.s.rules.take(o.method, msg).fault(o.Context(), o.s.stopped)
}
