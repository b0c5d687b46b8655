package agent

import (
	"context"
	"io"

	"github.com/porthole-project/porthole/runtime"
)

// gate holds streams back until it is opened.
type gate struct{ opened chan struct{} }

func newGate() *gate { return &gate{opened: make(chan struct{})} }

// open is called once.
func (g *gate) open() { close(g.opened) }

// wait returns the cause of ctx if that ends first.
func (g *gate) wait(ctx context.Context) error {
	select {
	case <-g.opened:
		return nil
	case <-ctx.Done():
		// Both may be true; what is open stays open.
		select {
		case <-g.opened:
			return nil
		default:
			return context.Cause(ctx)
		}
	}
}

// guard wraps streams so that reading and writing them waits for the gate. When
// ctx ends first, they fail with its cause.
func (g *gate) guard(ctx context.Context, s runtime.Streams) runtime.Streams {
	if s.Stdin != nil {
		s.Stdin = &guarded{ctx: ctx, gate: g, r: s.Stdin}
	}
	if s.Stdout != nil {
		s.Stdout = &guarded{ctx: ctx, gate: g, w: s.Stdout}
	}
	if s.Stderr != nil {
		s.Stderr = &guarded{ctx: ctx, gate: g, w: s.Stderr}
	}
	return s
}

type guarded struct {
	ctx  context.Context
	gate *gate
	r    io.Reader
	w    io.Writer
}

func (g *guarded) Read(p []byte) (int, error) {
	if err := g.gate.wait(g.ctx); err != nil {
		return 0, err
	}
	return g.r.Read(p)
}

func (g *guarded) Write(p []byte) (int, error) {
	if err := g.gate.wait(g.ctx); err != nil {
		return 0, err
	}
	return g.w.Write(p)
}
