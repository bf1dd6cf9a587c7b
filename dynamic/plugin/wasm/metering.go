package wasm

import (
	"context"
	"fmt"
	"slices"

	"github.com/tetratelabs/wazero/api"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Code must end when its time is over, whatever it does, and must let the garbage collector of the host do its work while it
// computes. The runtime could see to that, by leaving the code in each round of each loop, which makes code that computes ten
// times slower, and does not end recursion. So checkpoints are put into the code instead: there it counts down, and when it
// has arrived at 0 it calls the host.

const (
	// meterPointExport is the function of the host's module that is called.
	meterPointExport = "checkpoint"
	// meterInterval is what is counted down from: the host is called every 50 microseconds or so.
	meterInterval = 10_000
	// stepCost is counted where a function or a round of a loop begins.
	stepCost = 1
	// bulkCost is counted before an instruction on many bytes, which takes nanoseconds or milliseconds.
	bulkCost = 1000
	// importCost is counted before the host is called, which takes whatever it takes.
	importCost = meterInterval
)

// errDeadlinePassed ends code at a checkpoint.
var errDeadlinePassed = errors.New("the time of the request is over")

// onMeterPoint ends the code if its time is over, or if the instance was closed.
func onMeterPoint(ctx context.Context, module api.Module, _ []uint64) {
	if ctx.Err() != nil || module.IsClosed() {
		panic(errDeadlinePassed) // the runtime recovers it
	}
}

// header is how a module of WebAssembly begins.
const header = "\x00asm\x01\x00\x00\x00"

// instrument returns a module with checkpoints, which is what the compiler gets.
//
// It refuses a module which says that it has more of something than its bytes can hold, or more than any program needs: the
// compiler makes room for what is promised before it looks for it, and where there is no memory a Go program ends. Without
// this a module of 20 bytes could end the host. All else that can be wrong with a module is left to the compiler.
func instrument(module []byte) ([]byte, error) {
	if len(module) < len(header) || string(module[:len(header)]) != header {
		return nil, errors.New("the code is not a WebAssembly module, or of another version than 1")
	}
	w := &rewriter{injected: &injected{}}
	w.reset(module)
	w.skip(len(header))
	for len(w.unread) > 0 {
		w.injectSections(w.unread[0])
		id := w.readByte()
		w.rewriteSized(func(content *rewriter) { content.section(id) })
		if w.err != nil {
			return nil, fmt.Errorf("the code is not a WebAssembly module that can be run here: section %d %w", id, w.err)
		}
	}
	return w.finish(), nil
}

// injected are what is added to a module. The import comes after those that are there: functions of the module itself are
// numbered after it, and their numbers rise by one. The type and the variable come last, and change no numbers.
type injected struct {
	// How many there are without the additions; functions: that are imported.
	typeCount, importedFunctions, globalCount uint64
	// What was added.
	hasType, hasImport, hasGlobal bool
	// Checkpoints of these costs, made when all numbers are known.
	stepMeter, bulkMeter, importMeter []byte
}

// typeEntry is a function without parameters and results.
func (a *injected) typeEntry() []byte {
	a.hasType = true
	return []byte{0x60, 0, 0}
}

// importEntry is the function of the host.
func (a *injected) importEntry() []byte {
	a.hasImport = true
	return slices.Concat(appendName(nil, hostModuleName), appendName(nil, meterPointExport), []byte{0}, appendUvarint(nil, a.typeCount))
}

// globalEntry is the variable that counts down, of type i32. It is 0.
func (a *injected) globalEntry() []byte {
	a.hasGlobal = true
	return []byte{0x7f, 1, 0x41, 0, 0x0b}
}

// meterPoint is the code of a checkpoint, which counts a cost.
func (a *injected) meterPoint(cost int64) []byte {
	count := appendUvarint(nil, a.globalCount)
	return slices.Concat(
		[]byte{0x23}, count, appendVarint([]byte{0x41}, cost), []byte{0x6b, 0x24}, count, // count -= cost
		[]byte{0x23}, count, []byte{0x41, 0, 0x4c, 0x04, 0x40}, // if count <= 0 {
		appendUvarint([]byte{0x10}, a.importedFunctions),               // checkpoint()
		appendVarint([]byte{0x41}, meterInterval), []byte{0x24}, count, // count = meterInterval
		[]byte{0x0b}, // }
	)
}

func (a *injected) makeMeterPoints() {
	a.stepMeter, a.bulkMeter, a.importMeter = a.meterPoint(stepCost), a.meterPoint(bulkCost), a.meterPoint(importCost)
}

// injectSections adds sections for the additions where the module has none, before the section of the kind.
func (w *rewriter) injectSections(next byte) {
	const types, imports, globals, exports = 1, 2, 6, 7
	list := func(id byte, element []byte) {
		w.insert(append([]byte{id}, appendSized(nil, append([]byte{1}, element...))...))
	}
	a := w.injected
	if next > types && !a.hasType {
		list(types, a.typeEntry())
	}
	if next > imports && !a.hasImport {
		list(imports, a.importEntry())
	}
	if next >= exports && !a.hasGlobal {
		list(globals, a.globalEntry())
	}
}
