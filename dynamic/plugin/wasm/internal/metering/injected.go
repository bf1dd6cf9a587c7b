package metering

import "slices"

const (
	// meterInterval is the value to which the meter is reset after each call to the host. Code that
	// only runs loops uses up this value in about 50 µs.
	meterInterval = 10_000
	// stepCost is the cost of entering a function or starting a loop iteration.
	stepCost = 1
	// bulkCost is the cost of a bulk memory instruction, such as memory.fill. It is a guess: such
	// an instruction takes from nanoseconds to milliseconds, depending on an operand that is known
	// only at run time.
	bulkCost = 1000
	// importCost is the cost of calling an imported function. Because the duration of a host
	// function is unknown, the cost uses up the whole meter. The host thus checks the deadline
	// before each such call.
	importCost = meterInterval
)

// injected describes the type, the import and the global that are added to a module for metering.
// It contains their indexes and encodings, and whether they have been added yet.
//
// WebAssembly refers to types, functions and globals by index. The added type and global are the
// last of their kind, so they change no index. The added import follows the module's own imports,
// which precede its functions. The index of each defined function is therefore one higher; see
// [rewriter.functionIndex].
type injected struct {
	// hostModule is the name of the module from which Check is imported.
	hostModule string
	// typeCount, importedFunctions and globalCount are the numbers of types, imported functions and
	// globals in the original module. The added elements follow them, so these numbers are also the
	// indexes of the added type, import and global.
	typeCount, importedFunctions, globalCount uint64
	// hasType, hasImport and hasGlobal report whether the type, the import and the global have been
	// added.
	hasType, hasImport, hasGlobal bool
	// stepMeter, bulkMeter and importMeter are the encoded meter points with the costs stepCost,
	// bulkCost and importCost. They contain the indexes of the added import and the added global.
	// makeMeterPoints sets them when these indexes are known, before the code section is read.
	stepMeter, bulkMeter, importMeter []byte
}

// typeEntry returns the encoded type of [Check], a function without parameters or results.
func (a *injected) typeEntry() []byte {
	a.hasType = true
	return []byte{0x60, 0, 0}
}

// importEntry returns the encoded import of [Check].
func (a *injected) importEntry() []byte {
	a.hasImport = true
	return slices.Concat(appendName(nil, a.hostModule), appendName(nil, ExportName), []byte{0}, appendUvarint(nil, a.typeCount))
}

// globalEntry returns the encoded meter, a mutable global of type i32 that starts at zero.
func (a *injected) globalEntry() []byte {
	a.hasGlobal = true
	return []byte{0x7f, 1, 0x41, 0, 0x0b}
}

// meterPoint returns the encoded instructions of a meter point. Their pseudocode is:
//
//	meter -= cost
//	if meter <= 0 {
//		Check()
//		meter = meterInterval
//	}
func (a *injected) meterPoint(cost int64) []byte {
	meter := appendUvarint(nil, a.globalCount)
	return slices.Concat(
		// Subtract the cost from the meter.
		[]byte{0x23}, meter, appendVarint([]byte{0x41}, cost), []byte{0x6b, 0x24}, meter,
		// Start an if block, which is executed if the meter is zero or negative.
		[]byte{0x23}, meter, []byte{0x41, 0, 0x4c, 0x04, 0x40},
		// Call Check.
		appendUvarint([]byte{0x10}, a.importedFunctions),
		// Set the meter to meterInterval.
		appendVarint([]byte{0x41}, meterInterval), []byte{0x24}, meter,
		// End the if block.
		[]byte{0x0b},
	)
}

func (a *injected) makeMeterPoints() {
	a.stepMeter, a.bulkMeter, a.importMeter = a.meterPoint(stepCost), a.meterPoint(bulkCost), a.meterPoint(importCost)
}
