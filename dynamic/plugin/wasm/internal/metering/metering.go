package metering

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero/api"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// ExportName is the name under which the host module must export [Check].
const ExportName = "checkpoint"

// Instrument copies a module in the binary format and adds the meter to the copy. hostModule is the
// name of the host module that exports [Check]. Instrument does not modify module. It returns an
// error if the module must not be compiled; see the package comment. Other errors in a module
// remain in the copy, and the compiler reports them.
func Instrument(module []byte, hostModule string) ([]byte, error) {
	if len(module) < len(header) || string(module[:len(header)]) != header {
		return nil, errors.New("plugin is not a WebAssembly module of version 1")
	}
	w := &rewriter{injected: &injected{hostModule: hostModule}}
	w.reset(module)
	w.skip(len(header))
	for len(w.unread) > 0 {
		w.injectSections(w.unread[0])
		id := w.readByte()
		w.rewriteSized(func(content *rewriter) { content.section(id) })
		if w.err != nil {
			return nil, fmt.Errorf("invalid WebAssembly module: section %d %w", id, w.err)
		}
	}
	return w.finish(), nil
}

// errDeadlinePassed is the value of the panic with which Check stops a module.
var errDeadlinePassed = errors.New("deadline of the request has passed")

// Check is the host function that meter points call. If ctx has ended or the module has been
// closed, Check panics. wazero recovers the panic and returns its value as the error of the call to
// the module.
func Check(ctx context.Context, module api.Module, _ []uint64) {
	if ctx.Err() != nil || module.IsClosed() {
		panic(errDeadlinePassed)
	}
}
