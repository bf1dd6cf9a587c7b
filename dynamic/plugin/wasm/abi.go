package wasm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// abiVersion is the version of the ABI that this package implements. See ABI.md.
const abiVersion = 1

// pageSize is the size of a WebAssembly memory page, in bytes.
const pageSize = 64 << 10

// errorFlag is the bit in the result of dynpsrpc_call that marks the result as an error.
const errorFlag = 1 << 31

// A module must export its memory and its functions under these names.
const (
	exportMemory   = "memory"
	exportVersion  = "dynpsrpc_version"
	exportAlloc    = "dynpsrpc_alloc"
	exportDescribe = "dynpsrpc_describe"
	exportCall     = "dynpsrpc_call"
)

// signature holds the parameter and result types of a function.
type signature struct{ parameters, results []api.ValueType }

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

// exports lists the functions that a module must export.
var exports = []struct {
	name string
	signature
}{
	{exportVersion, signature{nil, []api.ValueType{i32}}},
	{exportAlloc, signature{[]api.ValueType{i32}, []api.ValueType{i32}}},
	{exportDescribe, signature{nil, []api.ValueType{i64}}},
	{exportCall, signature{[]api.ValueType{i32, i32, i32, i64}, []api.ValueType{i64}}},
}

// checkExports returns an error that lists all problems with the module's exports. The module must
// export all functions in exports, with the right signatures. It must also export its memory, whose
// initial size must not exceed memoryLimit. A module that exports _start but not _initialize is
// rejected too, because it is a program rather than a library.
func checkExports(compiled wazero.CompiledModule, memoryLimit int64) error {
	var errs []error
	functions := compiled.ExportedFunctions()
	for _, export := range exports {
		if function, ok := functions[export.name]; !ok {
			errs = append(errs, fmt.Errorf("module does not export function %s", export.name))
		} else if given := signatureOf(function); !given.equal(export.signature) {
			errs = append(errs, fmt.Errorf("module exports %s%s: want %s", export.name, given, export.signature))
		}
	}
	if memory, ok := compiled.ExportedMemories()[exportMemory]; !ok {
		errs = append(errs, fmt.Errorf("module does not export its memory as %q", exportMemory))
	} else if initial := int64(memory.Min()) * pageSize; initial > memoryLimit {
		errs = append(errs, fmt.Errorf("module needs %d bytes of memory to start: the limit is %d", initial, memoryLimit))
	}
	if functions["_start"] != nil && functions["_initialize"] == nil {
		errs = append(errs, errors.New(
			"module exports _start, so it is a command, not a library: build Go with -buildmode=c-shared, other languages as a reactor"))
	}
	return errors.Join(errs...)
}

// checkImports returns an error that lists all imports that the host cannot satisfy. The host
// provides functions, but no memories. An imported function must have the same signature as the
// host's function with that name.
func checkImports(runtime wazero.Runtime, compiled wazero.CompiledModule) error {
	var errs []error
	for _, memory := range compiled.ImportedMemories() {
		module, name, _ := memory.Import()
		errs = append(errs, fmt.Errorf("module imports memory %s.%s: it must define its own", module, name))
	}
	for _, function := range compiled.ImportedFunctions() {
		module, name, _ := function.Import()
		host := runtime.Module(module)
		if host == nil {
			errs = append(errs, fmt.Errorf("module imports %s.%s, but the host has no module %s", module, name, module))
			continue
		}
		definition, ok := host.ExportedFunctionDefinitions()[name]
		if !ok {
			errs = append(errs, fmt.Errorf("module imports %s.%s, which is not a function of that host module", module, name))
		} else if want, got := signatureOf(function), signatureOf(definition); !want.equal(got) {
			errs = append(errs, fmt.Errorf("module imports %s.%s%s, but the host's function is %s", module, name, want, got))
		}
	}
	return errors.Join(errs...)
}

func signatureOf(function api.FunctionDefinition) signature {
	return signature{function.ParamTypes(), function.ResultTypes()}
}

func (s signature) equal(other signature) bool {
	return slices.Equal(s.parameters, other.parameters) && slices.Equal(s.results, other.results)
}

// String returns the signature in the form "(i32, i32) -> (i64)".
func (s signature) String() string {
	return typeNames(s.parameters) + " -> " + typeNames(s.results)
}

func typeNames(types []api.ValueType) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = api.ValueTypeName(t)
	}
	return "(" + strings.Join(names, ", ") + ")"
}
