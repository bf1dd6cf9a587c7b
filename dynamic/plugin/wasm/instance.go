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
	// minInputBuffer is the minimum size of the input buffer, in bytes. It spares small requests of
	// different sizes a reallocation.
	minInputBuffer = 1 << 10
	// maxKeptInputBuffer is the maximum size of an input buffer that later requests reuse, in
	// bytes. A larger one is replaced at the next request, so that one large request does not
	// occupy the instance's memory for good.
	maxKeptInputBuffer = 1 << 20
)

// instance is one instance of a plugin's module. At most one goroutine uses it at a time, which
// acquired it from the pool.
type instance struct {
	module api.Module
	// allocFunc and callFunc are the exports that every request needs.
	allocFunc, callFunc api.Function
	memory              memory
	log                 guestLog
	maxResponse         int

	// ctx is the context of the current request or start. WASI's sleep and random source have no
	// context parameter and use ctx.
	ctx context.Context //nolint:containedctx // see above
	// inputBuffer is the address in the module's memory where the host writes requests. The module
	// allocated inputSize bytes for it.
	inputBuffer uint32
	inputSize   uint32
	// stack holds the parameters and the result of a call. It is reused to save an allocation.
	stack [4]uint64
}

// instanceKey is the context key of the instance that is running.
type instanceKey struct{}

// begin resets the state of the previous request. The module must run with the returned context.
func (in *instance) begin(ctx context.Context) context.Context {
	in.ctx = ctx
	in.memory.refused = false
	in.log.reset(ctx)
	return context.WithValue(ctx, instanceKey{}, in)
}

// sleep implements the guest's sleep. It returns early when the request ends.
func (in *instance) sleep(nanoseconds int64) {
	timer := time.NewTimer(time.Duration(nanoseconds))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-in.ctx.Done():
	}
}

// Read implements the guest's source of random numbers. It fails when the request has ended, so
// that the guest cannot go on after its deadline.
func (in *instance) Read(bytes []byte) (int, error) {
	if err := in.ctx.Err(); err != nil {
		return 0, err
	}
	return rand.Read(bytes)
}

// checkVersion fails if the module was built for another version of the ABI.
func (in *instance) checkVersion(ctx context.Context) error {
	version, err := in.module.ExportedFunction(exportVersion).Call(ctx)
	if err != nil {
		return in.newFault(ctx, err)
	}
	if version := uint32(version[0]); version != abiVersion { //nolint:gosec // it has 32 bits
		return abiViolation("module has ABI version %d, but this host runs version %d: rebuild the module for that version",
			version, abiVersion)
	}
	return nil
}

// describe returns the methods that the module serves.
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

// call makes the module handle a request; method is the index of the method in the module's list.
// The error is either a *fault, after which the instance must be discarded, or an error of the
// handler.
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

// writeRequest copies a request to the input buffer. It makes the module allocate another buffer if
// the request does not fit, or if the buffer is too large to be kept.
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

// readResult copies a result of the module. packed is its address in the upper 32 bits and its
// length in the lower ones. The host must copy, because the module reuses the memory at the next
// call.
func (in *instance) readResult(packed uint64) ([]byte, error) {
	address, size := uint32(packed>>32), uint32(packed) //nolint:gosec // the two halves
	if int64(size) > int64(in.maxResponse) {
		return nil, abiViolation("module returned %d bytes, which exceeds the maximum of %d", size, in.maxResponse)
	}
	if size == 0 {
		return nil, nil // the address of an empty result is not checked
	}
	bytes, ok := in.module.Memory().Read(address, size)
	if !ok {
		return nil, abiViolation("module returned %d bytes at address %d, which is beyond the end of memory", size, address)
	}
	return append(make([]byte, 0, size), bytes...), nil
}

// newFault classifies an error with which the module stopped. The context comes first, because a
// module that is ended at its deadline, or that runs out of memory, traps or exits in the course of
// it.
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

// close frees the instance. Closing fails only for open files, and there are none.
func (in *instance) close() {
	_ = in.module.Close(context.Background())
}
