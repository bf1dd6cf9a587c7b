package wasm

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// minInputBuffer is what is asked of alloc at least, so that small requests of different sizes share it.
	minInputBuffer = 1 << 10
	// maxKeptInputBuffer is what is kept at most for the requests to come.
	maxKeptInputBuffer = 1 << 20
)

// instance is an instance of a plugin's code. It belongs to one goroutine at a time.
type instance struct {
	module      api.Module
	allocFunc, callFunc  api.Function
	memory      memory
	log     guestLog
	maxResponse int

	ctx context.Context //nolint:containedctx // of what is being run
	inputBuffer    uint32          // where alloc has put the room for requests, and how many bytes it has
	inputSize    uint32
	stack   [4]uint64 // parameters and result
}

// instanceKey is for the value of a context that says which instance runs with it.
type instanceKey struct{}

// newInstance makes an instance, which fails if it takes too long.
func (c *loadedPlugin) newInstance(ctx context.Context) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	in := &instance{
		memory:      memory{limit: c.limits.Memory},
		log:     guestLog{logger: c.logger},
		maxResponse: c.loader.options.maxResponse,
	}
	ctx = in.begin(ctx)
	config := wazero.NewModuleConfig().
		WithName(""). // so that there can be several
		WithStartFunctions("_initialize").
		WithSysWalltime().WithSysNanotime().WithNanosleep(in.sleep).
		WithRandSource(in).
		WithStdout(&lineWriter{log: &in.log, level: slog.LevelInfo}).
		WithStderr(&lineWriter{log: &in.log, level: slog.LevelWarn})
	module, err := c.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, &in.memory), c.compiled, config)
	if err == nil && module.IsClosed() {
		err = errors.New("it has ended itself")
	}
	if err != nil {
		failure := in.newFault(ctx, err)
		failure.reason = fmt.Errorf("an instance does not start: %w", failure.reason)
		return nil, failure
	}
	in.module, in.allocFunc, in.callFunc = module, module.ExportedFunction(exportAlloc), module.ExportedFunction(exportCall)
	if err := in.checkVersion(ctx); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// begin prepares the instance for something to run, with the context that is returned.
func (in *instance) begin(ctx context.Context) context.Context {
	in.ctx = ctx
	in.memory.refused = false
	in.log.reset(ctx)
	return context.WithValue(ctx, instanceKey{}, in)
}

// sleep is how code waits: not longer than it may run.
func (in *instance) sleep(nanoseconds int64) {
	timer := time.NewTimer(time.Duration(nanoseconds))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-in.ctx.Done():
	}
}

// Read is how code gets random numbers: not for longer than it may run.
func (in *instance) Read(bytes []byte) (int, error) {
	if err := in.ctx.Err(); err != nil {
		return 0, err
	}
	return rand.Read(bytes)
}

// call lets the code handle a request, for the method at the place. The error is a *fault, after which the instance must not
// be used again, or one that the handler has returned.
func (in *instance) call(ctx context.Context, method uint32, request []byte, deadline time.Time) ([]byte, error) {
	ctx = in.begin(ctx)
	if err := in.writeRequest(ctx, request); err != nil {
		return nil, err
	}
	in.stack = [4]uint64{uint64(method), uint64(in.inputBuffer), uint64(len(request)), uint64(deadline.UnixNano())}
	if err := in.callFunc.CallWithStack(ctx, in.stack[:]); err != nil {
		return nil, in.newFault(ctx, err)
	}
	failed := in.stack[0]&errorFlag != 0
	response, err := in.readResult(in.stack[0] &^ errorFlag)
	if err != nil || !failed {
		return response, err
	}
	return nil, decodeError(response)
}

// writeRequest puts a request where the code can read it.
func (in *instance) writeRequest(ctx context.Context, request []byte) error {
	if len(request) > math.MaxInt32 {
		return &fault{errors.ResourceExhausted, "cannot take so long a request", fmt.Errorf("request of %d bytes", len(request))}
	}
	size := uint32(len(request)) //nolint:gosec // see above
	if size > in.inputSize || in.inputSize > maxKeptInputBuffer {
		in.inputSize = max(size, minInputBuffer)
		in.stack[0] = uint64(in.inputSize)
		if err := in.allocFunc.CallWithStack(ctx, in.stack[:]); err != nil {
			return in.newFault(ctx, err)
		}
		in.inputBuffer = uint32(in.stack[0]) //nolint:gosec // an address has 32 bits
		if in.inputBuffer == 0 {
			return &fault{errors.ResourceExhausted, "has no memory for the request",
				fmt.Errorf("%s(%d) has returned 0", exportAlloc, in.inputSize)}
		}
	}
	if !in.module.Memory().Write(in.inputBuffer, request) {
		return abiViolation("%s(%d) has returned %d, which is beyond the end of memory", exportAlloc, in.inputSize, in.inputBuffer)
	}
	return nil
}

// readResult copies what the code has returned: an address in the upper 32 bits, and a length.
func (in *instance) readResult(packed uint64) ([]byte, error) {
	address, size := uint32(packed>>32), uint32(packed) //nolint:gosec // its halves
	if int64(size) > int64(in.maxResponse) {
		return nil, abiViolation("it has returned %d bytes, which is more than %d", size, in.maxResponse)
	}
	if size == 0 {
		return nil, nil // wherever it is
	}
	bytes, ok := in.module.Memory().Read(address, size)
	if !ok {
		return nil, abiViolation("it has returned %d bytes at %d, which is beyond the end of memory", size, address)
	}
	return append(make([]byte, 0, size), bytes...), nil
}

// close frees the instance.
func (in *instance) close() {
	_ = in.module.Close(context.Background()) // there are no files that could fail to close
}
