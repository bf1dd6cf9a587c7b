package wasm

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
)

func TestStructure_OfRealModules(t *testing.T) {
	t.Parallel()
	for _, module := range [][]byte{bytesGuest(t), protoGuest(t), echoModule().encode()} {
		require.NoError(t, checkStructure(module))
	}
}

func TestStructure_EveryPrefixIsRefused(t *testing.T) {
	t.Parallel()
	module := echoModule().encode()
	whole := 0
	for size := range module {
		if checkStructure(module[:size]) == nil { // it ends with a section
			whole++
			assert.Error(t, loadError(t, module[:size], echoService))
		}
	}
	assert.LessOrEqual(t, whole, 8, "sections")
	guest := bytesGuest(t)
	for size := 1; size < len(guest); size += len(guest) / 100 {
		assert.Error(t, checkStructure(guest[:size]), size)
	}
}

// TestStructure_PromisesAreRefused: any of these modules would end the test if it were compiled, for want of memory.
func TestStructure_PromisesAreRefused(t *testing.T) {
	t.Parallel()
	many := uleb(math.MaxUint32)
	one := uleb(1)
	zero := slices.Concat(i32Const(0), []byte{opEnd})
	function := func(locals ...byte) []byte {
		return section(10, append(one, append(uleb(len(locals)+1), append(locals, opEnd)...)...))
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
		assert.Error(t, checkStructure(append([]byte(header), content...)), name)
	}
}

// FuzzStructure: whatever passes can be given to the compiler. A crash of the compiler would be one of this test.
func FuzzStructure(f *testing.F) {
	f.Add(echoModule().encode())
	f.Add([]byte(header))
	loader, _ := newTestLoader(f)
	f.Fuzz(func(t *testing.T, module []byte) {
		if len(module) > 1<<16 {
			t.Skip("compiling takes long")
		}
		code, err := loader.Load(t.Context(), &plugin.Source{Content: module}, nil)
		if err == nil {
			require.NoError(t, code.Close(t.Context()))
		}
	})
}
