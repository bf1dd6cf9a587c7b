package app

import (
	"context"
	"io"
)

// Input returns the standard input. Reading fails when ctx ends, so that a verb that is interrupted
// does not wait for input.
func (a *App) Input(ctx context.Context) io.Reader { return input{ctx, a.In} }

type input struct {
	ctx context.Context //nolint:containedctx // io.Reader has no context
	in  io.Reader
}

// Read implements io.Reader. If ctx ends first, the goroutine that reads may stay blocked until the
// process ends.
func (i input) Read(p []byte) (int, error) {
	type result struct {
		read []byte
		err  error
	}
	results := make(chan result, 1)
	go func() {
		buffer := make([]byte, len(p))
		n, err := i.in.Read(buffer)
		results <- result{buffer[:n], err}
	}()
	select {
	case r := <-results:
		return copy(p, r.read), r.err
	case <-i.ctx.Done():
		return 0, i.ctx.Err()
	}
}
