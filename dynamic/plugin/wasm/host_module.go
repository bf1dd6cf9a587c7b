package wasm

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
)

// hostModuleName is the module that code is given besides WASI.
const hostModuleName = "dynpsrpc"

// instantiateHostModules instantiates what the code may import.
func (c *loadedPlugin) instantiateHostModules(ctx context.Context, source *plugin.Source) error {
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, c.runtime); err != nil {
		return fmt.Errorf("module %s: %w", wasi_snapshot_preview1.ModuleName, err)
	}
	_, err := c.runtime.NewHostModuleBuilder(hostModuleName).
		NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(hostLog), []api.ValueType{i32, i32, i32}, nil).Export("log").
		NewFunctionBuilder().
		WithGoFunction(api.GoFunc(hostClock), nil, []api.ValueType{i64}).Export("clock").
		NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(onMeterPoint), nil, nil).Export(meterPointExport).
		Instantiate(ctx)
	if err != nil {
		return fmt.Errorf("module %s: %w", hostModuleName, err)
	}
	for _, instantiate := range c.loader.options.modules {
		if err := instantiate(ctx, source, c.runtime); err != nil {
			return fmt.Errorf("module of the host: %w", err)
		}
	}
	return nil
}

// hostLog logs a message: its parameters are level, address and length.
func hostLog(ctx context.Context, module api.Module, stack []uint64) {
	in, ok := ctx.Value(instanceKey{}).(*instance)
	if !ok {
		return // another module calls
	}
	level, address, size := api.DecodeI32(stack[0]), api.DecodeU32(stack[1]), api.DecodeU32(stack[2])
	message, ok := module.Memory().Read(address, min(size, maxLogPerRequest))
	if !ok {
		message = []byte("a message that is beyond the end of memory")
	}
	in.log.write(slog.Level(level), string(message))
}

// hostClock returns the time in nanoseconds since 1970.
func hostClock(_ context.Context, stack []uint64) {
	stack[0] = api.EncodeI64(time.Now().UnixNano())
}
