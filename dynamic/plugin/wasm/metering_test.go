package wasm

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/api"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
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
	for size := 1; size < len(guest); size += len(guest) / 30 {
		assert.Error(t, passes(guest[:size]), size)
	}
}

// TestMetering_PromisesAreRefused checks that modules which declare huge sizes are rejected.
// Compiling any of them would exhaust the memory.
func TestMetering_PromisesAreRefused(t *testing.T) {
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
		assert.Error(t, passes(append([]byte(header), content...)), name)
	}
}

func passes(module []byte) error {
	_, err := instrument(module)
	return err
}

func TestMetering_EndWhateverCodeDoes(t *testing.T) {
	t.Parallel()
	fill := slices.Concat(i32Const(0), i32Const(0), i32Const(32<<20), []byte{opcodeBulk, 11, 0})
	forever := func(body ...byte) []byte {
		return slices.Concat([]byte{opcodeLoop, blockEmpty}, body, []byte{opBranch, 0, opcodeEnd}, i64Const(0))
	}
	recursive := echoModule()
	// This function calls itself twice, down to a depth of 60.
	recursive.functions = append(recursive.functions, function{
		signature: signature{parameters: []api.ValueType{i32}},
		body: slices.Concat(
			[]byte{opLocalGet, 0, opIf, blockEmpty},
			[]byte{opLocalGet, 0}, i32Const(-1), []byte{opI32Add, opcodeCall, 4},
			[]byte{opLocalGet, 0}, i32Const(-1), []byte{opI32Add, opcodeCall, 4, opcodeEnd}),
	})
	recursive.with(exportCall, slices.Concat(i32Const(60), []byte{opcodeCall, 4}, i64Const(0))...)
	importing := echoModule()
	importing.imports = []imported{{hostModuleName, "clock", signature{nil, []api.ValueType{i64}}}}

	for name, module := range map[string]*assembled{
		"loop":      echoModule().with(exportCall, forever()...),
		"recursion": recursive,
		"memory":    echoModule().with(exportCall, forever(fill...)...),
		"sequence":  echoModule().with(exportCall, append(slices.Repeat(fill, 500), i64Const(0)...)...),
		"imports":   importing.with(exportCall, forever(opcodeCall, 0, opDrop)...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			module.pages = 512 // 32 MiB
			limits := plugin.Limits{Timeout: plugin.Duration(100 * time.Millisecond), Instances: 1}
			code := load(t, module.encode(), echoService, limits)
			started := time.Now()
			_, err := code.echo(t, "")
			requireCode(t, errors.DeadlineExceeded, err)
			assert.Less(t, time.Since(started), 10*time.Second)
		})
	}
}

func TestMetering_TheirVariableIsOutOfReach(t *testing.T) {
	t.Parallel()
	get := slices.Concat([]byte{0x23, 0, opDrop}, i32Const(abiVersion))
	set := slices.Concat(i32Const(1000), []byte{0x24, 0}, i32Const(abiVersion))
	for _, body := range [][]byte{get, set} {
		require.ErrorContains(t, passes(echoModule().with(exportVersion, body...).encode()), "global 0, which does not exist")
	}
	export := section(7, vector(append(text("count"), 3, 0)))
	require.ErrorContains(t, passes(append([]byte(header), export...)), "global 0, which does not exist")
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

// FuzzInstrument checks that an instrumented module compiles whenever the original one does, and
// that the compiler does not crash.
func FuzzInstrument(f *testing.F) {
	f.Add(echoModule().encode())
	f.Add([]byte(header))
	loader, _ := newTestLoader(f)
	f.Fuzz(func(t *testing.T, module []byte) {
		if len(module) > 1<<16 {
			t.Skip("compiling takes long")
		}
		changed, err := instrument(module)
		if err != nil {
			return // compiling a rejected module could exhaust the memory
		}
		runtime := loader.newRuntime(t.Context())
		defer runtime.Close(t.Context())
		if _, err := runtime.CompileModule(t.Context(), module); err != nil {
			return
		}
		_, err = runtime.CompileModule(t.Context(), changed)
		require.NoError(t, err)
	})
}
