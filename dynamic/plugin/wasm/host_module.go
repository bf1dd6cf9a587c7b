package wasm

import (
	"context"
	"log/slog"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// hostModuleName is the name of the host module that this package provides in addition to WASI.
const hostModuleName = "dynpsrpc"

// hostLog implements the host function log, which logs a message from the guest. The parameters of
// log are the level of the message, its address and its length.
func hostLog(ctx context.Context, module api.Module, stack []uint64) {
	in, ok := ctx.Value(instanceKey{}).(*instance)
	if !ok {
		return // a host module added with WithModule has called the guest outside of a request
	}
	level, address, size := api.DecodeI32(stack[0]), api.DecodeU32(stack[1]), api.DecodeU32(stack[2])
	message, ok := module.Memory().Read(address, min(size, maxLogPerRequest))
	if !ok {
		message = []byte("log message is beyond the end of memory")
	}
	in.log.write(slog.Level(level), string(message))
}

// hostClock implements the host function clock, which returns the time in nanoseconds since 1970.
func hostClock(_ context.Context, stack []uint64) {
	stack[0] = api.EncodeI64(time.Now().UnixNano())
}
