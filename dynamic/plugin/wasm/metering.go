package wasm

import (
	"context"
	"slices"

	"github.com/tetratelabs/wazero/api"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// A module must stop at its deadline whatever it does: in loops, in recursion and in long
// instructions. It must also return to Go regularly, because Go's garbage collector cannot stop a
// goroutine that runs compiled WebAssembly, and would hold up the whole process until the goroutine
// stops.
//
// wazero has an option for this (WithCloseOnContextDone). It leaves the compiled code at every loop
// iteration to check a flag in Go, which made computing guests ten times slower, and it has no
// check in recursion. This package meters the bytecode instead, before wazero compiles it, in the
// way that blockchains and other sandboxes meter gas. instrument adds to the module:
//
//   - a global variable, the meter, which no instruction of the module can name;
//   - an import, [onMeterPoint], a function of the host;
//   - a meter point, see [injected.meterPoint], at the start of every function, at the start of every
//     loop body, before every bulk memory instruction and before every call of an imported function.
//
// Every infinite execution passes through loops or calls, so it passes through infinitely many
// meter points. A meter point subtracts a cost from the meter and calls the host when the meter
// reaches zero. The usual case is one subtraction and one predictable branch in machine code; the
// host is called about every 50 µs, where it checks the deadline.

const (
	// meterPointExport is the name of [onMeterPoint] in the host module.
	meterPointExport = "checkpoint"
	// meterInterval is the initial value of the meter. Code that only runs loops uses it up in
	// about 50 µs.
	meterInterval = 10_000
	// stepCost is the cost of entering a function or an iteration of a loop.
	stepCost = 1
	// bulkCost is the cost of a bulk instruction, such as memory.fill. It takes from nanoseconds to
	// milliseconds, depending on its operand, which is known at run time only.
	bulkCost = 1000
	// importCost is the cost of calling an imported function. It uses up the whole meter, so that
	// the host checks the deadline before each call: the duration of a host function is unknown.
	importCost = meterInterval
)

// errDeadlinePassed ends a module at a meter point.
var errDeadlinePassed = errors.New("deadline of the request has passed")

// onMeterPoint is the host function that a meter point calls. It panics, which unwinds the module's
// stack, if the request has ended or the instance was closed. wazero recovers the panic and returns
// it from the call of the module.
func onMeterPoint(ctx context.Context, module api.Module, _ []uint64) {
	if ctx.Err() != nil || module.IsClosed() {
		panic(errDeadlinePassed)
	}
}

// injected holds what instrumentation adds to a module, and the counts from which its indexes
// follow.
//
// WebAssembly refers to types, functions and globals by index. The added type and the added global
// are the last of their kind, so that no other index changes. The added import cannot be the last
// function: imports come before the functions that the module defines. It follows the module's own
// imports, and the index of each defined function rises by one, see [rewriter.functionIndex].
type injected struct {
	// These are the counts in the original module. importedFunctions counts imported functions
	// only; it is the index of the added import, too.
	typeCount, importedFunctions, globalCount uint64
	// These report which additions were made.
	hasType, hasImport, hasGlobal bool
	// These are the meter points of the three costs. makeMeterPoints encodes them once all counts
	// are known, which is before the code section.
	stepMeter, bulkMeter, importMeter []byte
}

// typeEntry returns the type of [onMeterPoint]: a function without parameters and results.
func (a *injected) typeEntry() []byte {
	a.hasType = true
	return []byte{0x60, 0, 0}
}

// importEntry returns the import of [onMeterPoint].
func (a *injected) importEntry() []byte {
	a.hasImport = true
	return slices.Concat(appendName(nil, hostModuleName), appendName(nil, meterPointExport), []byte{0}, appendUvarint(nil, a.typeCount))
}

// globalEntry returns the meter: a mutable global of type i32, which starts at zero.
func (a *injected) globalEntry() []byte {
	a.hasGlobal = true
	return []byte{0x7f, 1, 0x41, 0, 0x0b}
}

// meterPoint returns the instructions of a meter point. In text format they are:
//
//	meter -= cost
//	if meter <= 0 {
//		onMeterPoint()
//		meter = meterInterval
//	}
func (a *injected) meterPoint(cost int64) []byte {
	meter := appendUvarint(nil, a.globalCount)
	return slices.Concat(
		[]byte{0x23}, meter, appendVarint([]byte{0x41}, cost), []byte{0x6b, 0x24}, meter, // meter -= cost
		[]byte{0x23}, meter, []byte{0x41, 0, 0x4c, 0x04, 0x40}, // if meter <= 0 {
		appendUvarint([]byte{0x10}, a.importedFunctions),               // onMeterPoint()
		appendVarint([]byte{0x41}, meterInterval), []byte{0x24}, meter, // meter = meterInterval
		[]byte{0x0b}, // }
	)
}

func (a *injected) makeMeterPoints() {
	a.stepMeter, a.bulkMeter, a.importMeter = a.meterPoint(stepCost), a.meterPoint(bulkCost), a.meterPoint(importCost)
}
