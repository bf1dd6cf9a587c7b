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
	// checkpointName is the function of the host's module that is called.
	checkpointName = "checkpoint"
	// checkpointEvery is what is counted down from: the host is called every 50 microseconds or so.
	checkpointEvery = 10_000
	// costOfStep is counted where a function or a round of a loop begins.
	costOfStep = 1
	// costOfBulk is counted before an instruction on many bytes, which takes nanoseconds or milliseconds.
	costOfBulk = 1000
	// costOfImport is counted before the host is called, which takes whatever it takes.
	costOfImport = checkpointEvery
)

// errTimeOver ends code at a checkpoint.
var errTimeOver = errors.New("the time of the request is over")

// checkpoint ends the code if its time is over, or if the instance was closed.
func checkpoint(ctx context.Context, module api.Module, _ []uint64) {
	if ctx.Err() != nil || module.IsClosed() {
		panic(errTimeOver) // the runtime recovers it
	}
}

// header is how a module of WebAssembly begins.
const header = "\x00asm\x01\x00\x00\x00"

// withCheckpoints returns a module with checkpoints, which is what the compiler gets.
//
// It refuses a module which says that it has more of something than its bytes can hold, or more than any program needs: the
// compiler makes room for what is promised before it looks for it, and where there is no memory a Go program ends. Without
// this a module of 20 bytes could end the host. All else that can be wrong with a module is left to the compiler.
func withCheckpoints(module []byte) ([]byte, error) {
	if len(module) < len(header) || string(module[:len(header)]) != header {
		return nil, errors.New("the code is not a WebAssembly module, or of another version than 1")
	}
	w := &walker{additions: &additions{}}
	w.begin(module)
	w.skip(len(header))
	for len(w.rest) > 0 {
		w.addSections(w.rest[0])
		id := w.byte()
		w.nested(func(content *walker) { content.section(id) })
		if w.err != nil {
			return nil, fmt.Errorf("the code is not a WebAssembly module that can be run here: section %d %w", id, w.err)
		}
	}
	return w.finish(), nil
}

// additions are what is added to a module. The import comes after those that are there: functions of the module itself are
// numbered after it, and their numbers rise by one. The type and the variable come last, and change no numbers.
type additions struct {
	// How many there are without the additions; functions: that are imported.
	types, functions, globals uint64
	// What was added.
	hasType, hasImport, hasGlobal bool
	// Checkpoints of these costs, made when all numbers are known.
	step, bulk, imported []byte
}

// addedType is a function without parameters and results.
func (a *additions) addedType() []byte {
	a.hasType = true
	return []byte{0x60, 0, 0}
}

// addedImport is the function of the host.
func (a *additions) addedImport() []byte {
	a.hasImport = true
	return slices.Concat(appendText(nil, hostModule), appendText(nil, checkpointName), []byte{0}, appendNumber(nil, a.types))
}

// addedGlobal is the variable that counts down, of type i32. It is 0.
func (a *additions) addedGlobal() []byte {
	a.hasGlobal = true
	return []byte{0x7f, 1, 0x41, 0, 0x0b}
}

// checkpoint is the code of a checkpoint, which counts a cost.
func (a *additions) checkpoint(cost int64) []byte {
	count := appendNumber(nil, a.globals)
	return slices.Concat(
		[]byte{0x23}, count, appendSigned([]byte{0x41}, cost), []byte{0x6b, 0x24}, count, // count -= cost
		[]byte{0x23}, count, []byte{0x41, 0, 0x4c, 0x04, 0x40}, // if count <= 0 {
		appendNumber([]byte{0x10}, a.functions),                          // checkpoint()
		appendSigned([]byte{0x41}, checkpointEvery), []byte{0x24}, count, // count = checkpointEvery
		[]byte{0x0b}, // }
	)
}

func (a *additions) makeCheckpoints() {
	a.step, a.bulk, a.imported = a.checkpoint(costOfStep), a.checkpoint(costOfBulk), a.checkpoint(costOfImport)
}

// addSections adds sections for the additions where the module has none, before the section of the kind.
func (w *walker) addSections(next byte) {
	const types, imports, globals, exports = 1, 2, 6, 7
	list := func(id byte, element []byte) {
		w.insert(append([]byte{id}, appendPart(nil, append([]byte{1}, element...))...))
	}
	a := w.additions
	if next > types && !a.hasType {
		list(types, a.addedType())
	}
	if next > imports && !a.hasImport {
		list(imports, a.addedImport())
	}
	if next >= exports && !a.hasGlobal {
		list(globals, a.addedGlobal())
	}
}
