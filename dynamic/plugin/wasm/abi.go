package wasm

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// abiVersion is the version of the ABI that this package runs: see ABI.md.
const abiVersion = 1

// pageSize is the unit of memory, in bytes.
const pageSize = 64 << 10

// errorFlag marks a result of call that is an error.
const errorFlag = 1 << 31

// What code exports.
const (
	exportMemory   = "memory"
	exportVersion  = "dynpsrpc_version"
	exportAlloc    = "dynpsrpc_alloc"
	exportDescribe = "dynpsrpc_describe"
	exportCall     = "dynpsrpc_call"
)

// signature is the parameters and results of a function.
type signature struct{ parameters, results []api.ValueType }

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

// exports are the functions that code exports, in the order in which they are asked for.
var exports = []struct {
	name string
	signature
}{
	{exportVersion, signature{nil, []api.ValueType{i32}}},
	{exportAlloc, signature{[]api.ValueType{i32}, []api.ValueType{i32}}},
	{exportDescribe, signature{nil, []api.ValueType{i64}}},
	{exportCall, signature{[]api.ValueType{i32, i32, i32, i64}, []api.ValueType{i64}}},
}

// checkExports says all that is missing or wrong.
func checkExports(compiled wazero.CompiledModule, memoryLimit int64) error {
	var errs []error
	functions := compiled.ExportedFunctions()
	for _, export := range exports {
		if function, ok := functions[export.name]; !ok {
			errs = append(errs, fmt.Errorf("the code does not export the function %s", export.name))
		} else if given := signatureOf(function); !given.equal(export.signature) {
			errs = append(errs, fmt.Errorf("the code exports %s%s: it must be %s", export.name, given, export.signature))
		}
	}
	if memory, ok := compiled.ExportedMemories()[exportMemory]; !ok {
		errs = append(errs, fmt.Errorf("the code does not export its memory as %q", exportMemory))
	} else if initial := int64(memory.Min()) * pageSize; initial > memoryLimit {
		errs = append(errs, fmt.Errorf("the code needs %d bytes of memory to start, and may have %d", initial, memoryLimit))
	}
	if functions["_start"] != nil && functions["_initialize"] == nil {
		errs = append(errs, errors.New(
			"the code is a program that runs once, not a library: a Go program is built with -buildmode=c-shared, others as a reactor"))
	}
	return errors.Join(errs...)
}

// checkImports says all that the code imports and is not given.
func checkImports(runtime wazero.Runtime, compiled wazero.CompiledModule) error {
	var errs []error
	for _, memory := range compiled.ImportedMemories() {
		module, name, _ := memory.Import()
		errs = append(errs, fmt.Errorf("the code imports the memory %s.%s: it must have its own", module, name))
	}
	for _, function := range compiled.ImportedFunctions() {
		module, name, _ := function.Import()
		given := runtime.Module(module)
		if given == nil {
			errs = append(errs, fmt.Errorf("the code imports %s.%s, but is not given a module %s", module, name, module))
			continue
		}
		definition, ok := given.ExportedFunctionDefinitions()[name]
		if !ok {
			errs = append(errs, fmt.Errorf("the code imports %s.%s, which the module it is given does not have", module, name))
		} else if wanted, has := signatureOf(function), signatureOf(definition); !wanted.equal(has) {
			errs = append(errs, fmt.Errorf("the code imports %s.%s%s, but is given one that is %s", module, name, wanted, has))
		}
	}
	return errors.Join(errs...)
}

// checkVersion asks the code which ABI it is of.
func (in *instance) checkVersion(ctx context.Context) error {
	version, err := in.module.ExportedFunction(exportVersion).Call(ctx)
	if err != nil {
		return in.newFault(ctx, err)
	}
	if version := uint32(version[0]); version != abiVersion { //nolint:gosec // it has 32 bits
		return abiViolation("the code is of version %d of the ABI, and this host runs version %d: build it for that", version, abiVersion)
	}
	return nil
}

func signatureOf(function api.FunctionDefinition) signature {
	return signature{function.ParamTypes(), function.ResultTypes()}
}

func (s signature) equal(other signature) bool {
	return slices.Equal(s.parameters, other.parameters) && slices.Equal(s.results, other.results)
}

// String returns a text such as "(i32, i32) -> (i64)".
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
