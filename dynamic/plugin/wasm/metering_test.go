package wasm

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/api"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/internal/metering"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestMetering_OfRealModules(t *testing.T) {
	t.Parallel()
	for _, module := range [][]byte{bytesGuest(t), echoGuest(t), protoGuest(t), echoModule().encode()} {
		require.NoError(t, passes(module))
	}
}

func TestMetering_EveryPrefixIsRefused(t *testing.T) {
	t.Parallel()
	module := echoModule().encode()
	whole := 0
	for size := range module {
		if passes(module[:size]) == nil { // the prefix ends after a complete section
			whole++
			assert.Error(t, loadError(t, module[:size], echoService))
		}
	}
	assert.LessOrEqual(t, whole, 8, "sections")
	guest := bytesGuest(t)
	for size := 1; size < len(guest); size += len(guest) / 10 {
		assert.Error(t, passes(guest[:size]), size)
	}
}

func passes(module []byte) error {
	_, err := metering.Instrument(module, hostModuleName)
	return err
}

func TestMetering_EndWhateverCodeDoes(t *testing.T) {
	t.Parallel()
	fill := slices.Concat(i32Const(0), i32Const(0), i32Const(32<<20), []byte{opcodeBulk, 11, 0})
	forever := func(body ...byte) []byte {
		return slices.Concat([]byte{opcodeLoop, blockEmpty}, body, []byte{opBranch, 0, opcodeEnd}, i64Const(0))
	}
	// The code first calls the imported function running, so that the context ends only after the
	// call has begun.
	running := func(body []byte) []byte { return append([]byte{opcodeCall, 0}, body...) }
	recursive := echoModule()
	recursive.imports = []imported{importRunning}
	// This function calls itself twice, down to a depth of 60.
	recursive.functions = append(recursive.functions, function{
		signature: signature{parameters: []api.ValueType{i32}},
		body: slices.Concat(
			[]byte{opLocalGet, 0, opIf, blockEmpty},
			[]byte{opLocalGet, 0}, i32Const(-1), []byte{opI32Add, opcodeCall, 5},
			[]byte{opLocalGet, 0}, i32Const(-1), []byte{opI32Add, opcodeCall, 5, opcodeEnd}),
	})
	importing := echoModule()
	importing.imports = []imported{importRunning, {hostModuleName, "clock", signature{nil, []api.ValueType{i64}}}}
	calling := func(body []byte) *assembled {
		m := echoModule()
		m.imports = []imported{importRunning}
		return m.with(exportCall, running(body)...)
	}
	for name, module := range map[string]*assembled{
		"loop":      calling(forever()),
		"recursion": recursive.with(exportCall, running(slices.Concat(i32Const(60), []byte{opcodeCall, 5}, i64Const(0)))...),
		"memory":    calling(forever(fill...)),
		"sequence":  calling(append(slices.Repeat(fill, 500), i64Const(0)...)),
		"imports":   importing.with(exportCall, running(forever(opcodeCall, 1, opDrop))...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			module.pages = 512 // 32 MiB
			limits := plugin.Limits{Timeout: plugin.Duration(time.Hour), Instances: 1}
			called := make(chan struct{})
			code := load(t, module.encode(), echoService, limits, reportRunning(called))
			var ended time.Time
			err := endWhen(t, context.DeadlineExceeded, func() { receiveRunning(t, called); ended = time.Now() }, func(ctx context.Context) error {
				_, err := code.echoWithin(ctx, "")
				return err
			})
			requireCode(t, errors.DeadlineExceeded, err)
			assert.Less(t, time.Since(ended), 10*time.Second)
		})
	}
}

// TestMetering_FunctionsKeepTheirPlaces checks that functions are still found by their index after
// the module was instrumented. Indexes occur in tables, exports, calls and the start section.
func TestMetering_FunctionsKeepTheirPlaces(t *testing.T) {
	t.Parallel()
	m := echoModule()
	m.imports = []imported{{hostModuleName, "clock", signature{nil, []api.ValueType{i64}}}}
	m.functions = append(m.functions,
		function{signature: signature{results: []api.ValueType{i32}}, body: i32Const(abiVersion)},
		function{}, // the start function, which must have no parameters
	)
	m.start = 6
	m.tables = section(4, vector([]byte{0x70, 0, 2}))
	m.elements = section(9, vector(slices.Concat([]byte{0}, i32Const(0), []byte{opcodeEnd}, vector([]byte{0}, []byte{5}))))
	m.with(exportVersion, slices.Concat(
		i32Const(0), []byte{opCallIndirect, 0, 0, opDrop}, // calls the imported function clock
		// This line calls the first of the two functions above.
		i32Const(1), []byte{opCallIndirect, 5, 0})...)
	code := load(t, m.encode(), echoService, plugin.Limits{})
	response, err := code.echo(t, "in place")
	require.NoError(t, err)
	assert.Equal(t, "in place", response)
}
