package wasm

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"time"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// minInputBuffer is the minimum size of the input buffer, in bytes. Without a minimum, a buffer
	// for a small request would soon have to be replaced by a slightly larger one.
	minInputBuffer = 1 << 10
	// maxKeptInputBuffer is the maximum size, in bytes, of an input buffer that is kept for later
	// requests. The next request replaces a larger buffer, so that a single large request does not
	// occupy the instance's memory for good.
	maxKeptInputBuffer = 1 << 20
)

// instance is an instance of a plugin's module. It is used only by the goroutine that has acquired
// it from the pool.
type instance struct {
	module api.Module
	// allocFunc and callFunc are the functions that the module exports for handling requests.
	allocFunc, callFunc api.Function
	memory              memory
	log                 guestLog
	maxResponse         int

	// ctx is the context of the current request, or the context in which the instance is being
	// started. It is stored because the WASI functions for sleeping and for random numbers have no
	// context parameter.
	ctx context.Context //nolint:containedctx // see above
	// inputBuffer is the address of the buffer in the module's memory to which the host writes
	// requests. inputSize is the size of this buffer, in bytes.
	inputBuffer uint32
	inputSize   uint32
	// stack holds the parameters and the result of a call. It is a field, so that calls need not
	// allocate it.
	stack [4]uint64
}

// instanceKey is the context key under which host functions find the instance that called them.
type instanceKey struct{}

// begin prepares the instance for a request: it clears the state of the previous request and
// returns the context for calls to the module.
func (in *instance) begin(ctx context.Context) context.Context {
	in.ctx = ctx
	in.memory.refused = false
	in.log.reset(ctx)
	return context.WithValue(ctx, instanceKey{}, in)
}

// sleep implements the guest's sleep function. It returns early if the request ends.
func (in *instance) sleep(nanoseconds int64) {
	timer := time.NewTimer(time.Duration(nanoseconds))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-in.ctx.Done():
	}
}

// Read implements io.Reader. The guest obtains its random numbers from Read. If the request has
// ended, Read returns an error, so that the guest cannot continue after its deadline.
func (in *instance) Read(bytes []byte) (int, error) {
	if err := in.ctx.Err(); err != nil {
		return 0, err
	}
	return rand.Read(bytes)
}

// checkVersion returns an error if the module was built for another version of the ABI.
func (in *instance) checkVersion(ctx context.Context) error {
	version, err := in.module.ExportedFunction(exportVersion).Call(ctx)
	if err != nil {
		return in.newFault(ctx, err)
	}
	if version := uint32(version[0]); version != abiVersion { //nolint:gosec // versions have 32 bits
		return abiViolation("module has ABI version %d, but this host runs version %d: rebuild the module for that version",
			version, abiVersion)
	}
	return nil
}

// describe returns the names of the methods that the module serves.
func (in *instance) describe(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ctx = in.begin(ctx)
	packed, err := in.module.ExportedFunction(exportDescribe).Call(ctx)
	if err != nil {
		return nil, in.newFault(ctx, err)
	}
	list, err := in.readResult(packed[0])
	if err != nil {
		return nil, err
	}
	return parseMethodList(string(list))
}

// call passes a request to the module and returns its response. method is the index of the method
// in the module's method list. If the error is a *fault, the instance must be discarded. Any other
// error comes from the handler.
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

// writeRequest copies a request to the input buffer. If the buffer is too small for the request, or
// too large to be kept, the module first allocates a new one.
func (in *instance) writeRequest(ctx context.Context, request []byte) error {
	if len(request) > math.MaxInt32 {
		return &fault{errors.ResourceExhausted, "cannot accept a request of this size",
			fmt.Errorf("request has %d bytes: the maximum is %d", len(request), math.MaxInt32)}
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
				fmt.Errorf("%s(%d) returned 0", exportAlloc, in.inputSize)}
		}
	}
	if !in.module.Memory().Write(in.inputBuffer, request) {
		return abiViolation("%s(%d) returned address %d, which is beyond the end of memory", exportAlloc, in.inputSize, in.inputBuffer)
	}
	return nil
}

// readResult returns a copy of a result in the module's memory. packed contains the address of the
// result in its upper 32 bits and the length in its lower 32 bits. The result must be copied
// because the module may reuse the memory in the next call.
func (in *instance) readResult(packed uint64) ([]byte, error) {
	address, size := uint32(packed>>32), uint32(packed) //nolint:gosec // the two halves
	if int64(size) > int64(in.maxResponse) {
		return nil, abiViolation("module returned %d bytes, which exceeds the maximum of %d", size, in.maxResponse)
	}
	if size == 0 {
		return nil, nil // an empty result need not have a valid address
	}
	bytes, ok := in.module.Memory().Read(address, size)
	if !ok {
		return nil, abiViolation("module returned %d bytes at address %d, which is beyond the end of memory", size, address)
	}
	return append(make([]byte, 0, size), bytes...), nil
}

// newFault returns a fault for err, which is the error that stopped the module. It checks the
// context and the memory limit first, because err does not show that the request was canceled or
// that the memory was exhausted.
func (in *instance) newFault(ctx context.Context, err error) *fault {
	var exit *sys.ExitError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return &fault{errors.Canceled, "was canceled", fmt.Errorf("%w: %w", ctx.Err(), err)}
	case ctx.Err() != nil:
		return &fault{errors.DeadlineExceeded, "exceeded its deadline", fmt.Errorf("%w: %w", ctx.Err(), err)}
	case in.memory.refused:
		return &fault{errors.ResourceExhausted, "exceeded its memory limit",
			fmt.Errorf("module exceeded its memory limit of %d bytes: %w", in.memory.limit, err)}
	case errors.As(err, &exit):
		return &fault{errors.Internal, "exited", fmt.Errorf("module exited with status %d", exit.ExitCode())}
	}
	return &fault{errors.Internal, "failed", err}
}

// close closes the module. The error of Close can be ignored: Close fails only if files are open,
// and a module cannot open any.
func (in *instance) close() {
	_ = in.module.Close(context.Background())
}
