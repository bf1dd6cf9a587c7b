package metering

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// These constants are opcodes and a block type that only tests use.
const (
	opIf       = 0x04
	opBranch   = 0x0c
	opIndirect = 0x11
	opDrop     = 0x1a
	opLocalGet = 0x20
	opGet      = 0x23
	opSet      = 0x24
	opAdd      = 0x6a
	blockEmpty = 0x40
	i32Type    = 0x7f
)

func uleb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func text(s string) []byte { return append(uleb(len(s)), s...) }

func i32Const(n int64) []byte { return appendVarint([]byte{0x41}, n) }

func vector(elements ...[]byte) []byte {
	return append(uleb(len(elements)), slices.Concat(elements...)...)
}

func section(id byte, content []byte) []byte {
	return slices.Concat([]byte{id}, uleb(len(content)), content)
}

func module(sections ...[]byte) []byte { return append([]byte(header), slices.Concat(sections...)...) }

// body returns the code section's entry for a function without local variables.
func body(code ...byte) []byte {
	return appendSized(nil, slices.Concat([]byte{0}, code, []byte{opcodeEnd}))
}

// These are the first sections of a module with three types. It imports the function host.tick,
// which has index 0, and defines functions without results from index 1.
var (
	types   = section(1, vector([]byte{0x60, 0, 0}, []byte{0x60, 0, 1, i32Type}, []byte{0x60, 1, i32Type, 0}))
	imports = section(2, vector(slices.Concat(text("host"), text("tick"), []byte{0, 0})))
	memory  = section(5, vector([]byte{0, 1}))
)

// exportRun exports the function with index 1 under the name run.
var exportRun = section(7, vector(append(text("run"), 0, 1)))

// runModule instruments and runs a module: it calls the exported function run. ticks is the number
// of calls to the function host.tick.
func runModule(ctx context.Context, t testing.TB, module []byte) (ticks int, results []uint64, err error) {
	t.Helper()
	instrumented, err := Instrument(module, "meter")
	require.NoError(t, err)
	runtime := wazero.NewRuntime(t.Context())
	defer runtime.Close(t.Context())
	_, err = runtime.NewHostModuleBuilder("meter").NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(Check), nil, nil).Export(ExportName).Instantiate(t.Context())
	require.NoError(t, err)
	_, err = runtime.NewHostModuleBuilder("host").NewFunctionBuilder().
		WithFunc(func() { ticks++ }).Export("tick").Instantiate(t.Context())
	require.NoError(t, err)
	instance, err := runtime.InstantiateWithConfig(t.Context(), instrumented, wazero.NewModuleConfig().WithStartFunctions())
	require.NoError(t, err)
	results, err = instance.ExportedFunction("run").Call(ctx)
	return ticks, results, err
}

// Code that runs forever, or for a very long time, must stop soon after the context of the call has
// ended.
func TestCheck_EndsCode(t *testing.T) {
	t.Parallel()
	forever := func(code ...byte) []byte {
		return slices.Concat([]byte{opcodeLoop, blockEmpty}, code, []byte{opBranch, 0, opcodeEnd})
	}
	fill := slices.Concat(i32Const(0), i32Const(0), i32Const(1<<16), []byte{opcodeBulk, 11, 0})
	// This function calls itself twice, down to a depth of 60.
	half := slices.Concat([]byte{opLocalGet, 0}, i32Const(-1), []byte{opAdd, opcodeCall, 2})
	recursion := slices.Concat([]byte{opLocalGet, 0, opIf, blockEmpty}, half, half, []byte{opcodeEnd})
	for name, code := range map[string][]byte{
		"loop":      forever(),
		"recursion": append(i32Const(60), opcodeCall, 2),
		"fill":      forever(fill...),
		"import":    forever(opcodeCall, 0),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, _, err := runModule(ctx, t, module(types, imports, section(3, vector([]byte{0}, []byte{2})), memory, exportRun,
				section(10, vector(body(code...), body(recursion...)))))
			require.ErrorIs(t, err, errDeadlinePassed)
		})
	}
}

// The meter is checked before each call to an imported function.
func TestCheck_EndsBeforeAnImport(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ticks, _, err := runModule(ctx, t, module(types, imports, section(3, vector([]byte{0})), exportRun,
		section(10, vector(body(opcodeCall, 0)))))
	require.ErrorIs(t, err, errDeadlinePassed)
	assert.Zero(t, ticks)
}

// Calls, tables and the start section must still refer to the same functions, although their
// indexes have changed.
func TestInstrument_FunctionsKeepTheirPlaces(t *testing.T) {
	t.Parallel()
	code := slices.Concat(
		[]byte{opcodeCall, 0},                 // host.tick
		i32Const(0), []byte{opIndirect, 0, 0}, // host.tick through the table
		[]byte{opcodeCall, 2}, i32Const(1), []byte{opAdd}, // 41 + 1
		i32Const(1), []byte{opIndirect, 1, 0, opDrop}, // function 2 through the table
	)
	table := section(4, vector([]byte{0x70, 0, 2}))
	elements := section(9, vector(slices.Concat([]byte{0}, i32Const(0), []byte{opcodeEnd}, vector([]byte{0}, []byte{2}))))
	ticks, results, err := runModule(t.Context(), t, module(
		types, imports, section(3, vector([]byte{1}, []byte{1}, []byte{0})), table, exportRun, section(8, uleb(3)), elements,
		section(10, vector(body(code...), body(i32Const(41)...), body(opcodeCall, 0)))))
	require.NoError(t, err)
	assert.Equal(t, 3, ticks, "one of them is from the start function")
	assert.Equal(t, []uint64{42}, results)
}

// If a module has no sections for types, imports or globals, Instrument must add them.
func TestInstrument_MissingSections(t *testing.T) {
	t.Parallel()
	instrumented, err := Instrument(module(memory), "meter")
	require.NoError(t, err)
	assert.Equal(t, string(module(
		section(1, vector([]byte{0x60, 0, 0})),
		section(2, vector(slices.Concat(text("meter"), text(ExportName), []byte{0, 0}))),
		memory,
	)), string(instrumented), "a module without code needs no meter")
	instrumented, err = Instrument(module(memory, section(7, vector())), "meter")
	require.NoError(t, err)
	assert.Contains(t, string(instrumented), string(section(6, vector([]byte{i32Type, 1, 0x41, 0, opcodeEnd}))))
}

// Stack traces show the names in the name section, so the names must still belong to the right
// functions. Other custom sections must be copied.
func TestInstrument_CustomSections(t *testing.T) {
	t.Parallel()
	other := section(0, append(text("producers"), 1, 2, 3))
	names := func(imported, defined int) []byte {
		return section(0, slices.Concat(text("name"),
			section(0, text("m")),
			section(1, vector(append(uleb(imported), text("tick")...), append(uleb(defined), text("run")...))),
			section(2, vector(append(uleb(defined), vector(append(uleb(0), text("x")...))...)))))
	}
	instrumented, err := Instrument(module(types, imports, other, names(0, 1)), "meter")
	require.NoError(t, err)
	assert.Contains(t, string(instrumented), string(other))
	assert.Contains(t, string(instrumented), string(names(0, 2)))
}

func TestInstrument_MeterIsOutOfReach(t *testing.T) {
	t.Parallel()
	function := section(3, vector([]byte{0}))
	for name, m := range map[string][]byte{
		"get":    module(types, function, section(10, vector(body(opGet, 0, opDrop)))),
		"set":    module(types, function, section(10, vector(body(append(i32Const(1000), opSet, 0)...)))),
		"export": module(section(7, vector(append(text("count"), 3, 0)))),
	} {
		_, err := Instrument(m, "meter")
		require.ErrorContains(t, err, "global 0, which does not exist", name)
	}
}

func TestInstrument_NotAModule(t *testing.T) {
	t.Parallel()
	for _, garbage := range []string{"", "\x00asm", "not WebAssembly at all", "\x00asm\x02\x00\x00\x00"} {
		_, err := Instrument([]byte(garbage), "meter")
		require.ErrorContains(t, err, "not a WebAssembly module")
	}
}

func TestInstrument_UnknownInstructions(t *testing.T) {
	t.Parallel()
	for _, code := range [][]byte{{0x06}, {0xff}, {opcodeBulk, 18}, {0xfd, 0x80, 2}} {
		_, err := Instrument(module(types, section(3, vector([]byte{0})), section(10, vector(body(code...)))), "meter")
		require.ErrorContains(t, err, "unknown instruction", "%x", code)
	}
}

// TestInstrument_PromisesAreRefused checks that modules which declare huge sizes are rejected.
// Compiling any of them would exhaust the memory.
func TestInstrument_PromisesAreRefused(t *testing.T) {
	t.Parallel()
	many := uleb(math.MaxUint32)
	one := uleb(1)
	zero := slices.Concat(i32Const(0), []byte{opcodeEnd})
	function := func(locals ...byte) []byte {
		return section(10, append(one, append(uleb(len(locals)+1), append(locals, opcodeEnd)...)...))
	}
	for name, content := range map[string][]byte{
		"types":                   section(1, many),
		"parameters":              section(1, slices.Concat(one, []byte{0x60}, many)),
		"results":                 section(1, slices.Concat(one, []byte{0x60, 0}, many)),
		"groups of types":         section(1, slices.Concat(one, []byte{0x4e}, many)),
		"imports":                 section(2, many),
		"name of a module":        section(2, slices.Concat(one, many)),
		"name of an import":       section(2, slices.Concat(one, []byte{0}, many)),
		"table that is imported":  section(2, slices.Concat(one, []byte{0, 0, 1, 0x70, 0}, many)),
		"functions":               section(3, many),
		"tables":                  section(4, many),
		"table":                   section(4, slices.Concat(one, []byte{0x70, 0}, many)),
		"table with a greatest":   section(4, slices.Concat(one, []byte{0x70, 1}, many, many)),
		"memories":                section(5, many),
		"globals":                 section(6, many),
		"exports":                 section(7, many),
		"name of an export":       section(7, slices.Concat(one, many)),
		"lists of elements":       section(9, many),
		"elements":                section(9, slices.Concat(one, []byte{0}, zero, many)),
		"elements, passive":       section(9, slices.Concat(one, []byte{1, 0}, many)),
		"elements of a table":     section(9, slices.Concat(one, []byte{2, 0}, zero, []byte{0}, many)),
		"expressions":             section(9, slices.Concat(one, []byte{4}, zero, many)),
		"expressions, passive":    section(9, slices.Concat(one, []byte{5, 0x70}, many)),
		"expressions of a table":  section(9, slices.Concat(one, []byte{6, 0}, zero, []byte{0x70}, many)),
		"bodies":                  section(10, many),
		"body":                    section(10, slices.Concat(one, many)),
		"groups of locals":        function(many...),
		"locals":                  function(slices.Concat(one, many, []byte{0x7f})...),
		"locals, in two groups":   function(slices.Concat(uleb(2), many, []byte{0x7f}, many, []byte{0x7f})...),
		"lists of data":           section(11, many),
		"data":                    section(11, slices.Concat(one, []byte{0}, zero, many)),
		"data, passive":           section(11, slices.Concat(one, []byte{1}, many)),
		"name of a section":       section(0, many),
		"name":                    section(0, slices.Concat(text("name"), section(0, many))),
		"names of functions":      section(0, slices.Concat(text("name"), section(1, many))),
		"name of a function":      section(0, slices.Concat(text("name"), section(1, slices.Concat(one, []byte{0}, many)))),
		"functions with names":    section(0, slices.Concat(text("name"), section(2, many))),
		"names of locals":         section(0, slices.Concat(text("name"), section(2, slices.Concat(one, []byte{0}, many)))),
		"part of a list of names": section(0, slices.Concat(text("name"), []byte{7}, many)),
		"tags":                    section(13, many),
		"section":                 append([]byte{1}, many...),
	} {
		_, err := Instrument(module(content), "meter")
		assert.Error(t, err, name)
	}
}

// A module that is cut off anywhere is refused, unless it ends after a complete section.
func TestInstrument_EveryPrefix(t *testing.T) {
	t.Parallel()
	whole := module(types, imports, section(3, vector([]byte{0})), memory, exportRun, section(10, vector(body(opcodeCall, 0))))
	passed := 0
	for size := range whole {
		if _, err := Instrument(whole[:size], "meter"); err == nil {
			passed++
		}
	}
	assert.Equal(t, 6, passed, "one for the header and for each section except the last one")
}

// FuzzInstrument checks that an instrumented module compiles whenever the original one does, and
// that the compiler does not crash.
func FuzzInstrument(f *testing.F) {
	f.Add(module(types, imports, section(3, vector([]byte{0})), memory, exportRun, section(10, vector(body(opcodeCall, 0)))))
	f.Add([]byte(header))
	f.Fuzz(func(t *testing.T, module []byte) {
		if len(module) > 1<<16 {
			t.Skip("compiling takes long")
		}
		changed, err := Instrument(module, "meter")
		if err != nil {
			return // compiling a rejected module could exhaust the memory
		}
		// The loader of package wasm allows the same features.
		runtime := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfig().
			WithCoreFeatures(api.CoreFeaturesV2.SetEnabled(api.CoreFeatureReferenceTypes, false)).WithDebugInfoEnabled(false))
		defer runtime.Close(t.Context())
		if _, err := runtime.CompileModule(t.Context(), module); err != nil {
			return
		}
		_, err = runtime.CompileModule(t.Context(), changed)
		require.NoError(t, err)
	})
}
