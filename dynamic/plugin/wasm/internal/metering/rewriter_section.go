package metering

import "slices"

const (
	// maxLocals is the maximum number of local variables of a function. Web browsers have the same
	// limit.
	maxLocals = 50_000
	// maxTableSize is the maximum initial number of elements in a table. Web browsers have the same
	// limit.
	maxTableSize = 10_000_000
)

// section rewrites the content of the section with the given id. The WebAssembly specification
// defines the ids.
func (w *rewriter) section(id byte) {
	switch id {
	case 0: // custom section
		w.customSection()
	case 1: // type section
		w.extendVector(w.injected.typeEntry, w.functionType)
	case 2: // import section
		w.extendVector(w.injected.importEntry, func() { w.skipBytes(); w.skipBytes(); w.importEntry() })
	case 3: // function section, which contains the type of each function
		w.readVector(func() { w.readUvarint() })
	case 4: // table section
		w.readVector(w.tableType)
	case 5: // memory section
		w.readVector(func() { w.limits() })
	case 6: // global section
		w.extendVector(w.injected.globalEntry, func() { w.skip(2); w.constantExpression(); w.injected.globalCount++ })
	case 7: // export section
		w.readVector(w.exportEntry)
	case 8: // start section, which contains the index of a function
		w.functionIndex()
	case 9: // element section
		w.readVector(w.elementSegment)
	case 10: // code section, which contains the bodies of the functions
		w.injected.makeMeterPoints()
		w.readVector(func() { w.rewriteSized((*rewriter).functionBody) })
	case 11: // data section
		w.readVector(w.dataSegment)
	case 12: // data count section, which contains the number of data segments
		w.readUvarint()
	default:
		w.failf("has an unknown id")
	}
}

// valueTypes lists the encodings of all number, vector and reference types.
var valueTypes = []byte{0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f}

func (w *rewriter) functionType() {
	w.injected.typeCount++
	if form := w.readByte(); w.err == nil && form != 0x60 {
		w.failf("has a type of form %#x: want a function type", form)
	}
	// The types of the parameters come first, and then the types of the results.
	for range 2 {
		w.readVector(func() {
			if t := w.readByte(); w.err == nil && !slices.Contains(valueTypes, t) {
				w.failf("has the unknown value type %#x", t)
			}
		})
	}
}

func (w *rewriter) importEntry() {
	switch kind := w.readByte(); kind {
	case 0: // import of a function
		w.injected.importedFunctions++
		w.readUvarint()
	case 1:
		w.tableType()
	case 2: // import of a memory
		w.limits()
	case 3: // import of a global
		w.injected.globalCount++
		w.skip(2)
	default:
		w.failf("has an import of unknown kind %d", kind)
	}
}

func (w *rewriter) exportEntry() {
	w.skipBytes()
	switch kind := w.readByte(); kind {
	case 0:
		w.functionIndex()
	case 3:
		w.globalIndex()
	default:
		w.readUvarint()
	}
}

func (w *rewriter) tableType() {
	if t := w.readByte(); w.err == nil && t != 0x70 && t != 0x6f {
		w.failf("has a table of unknown type %#x", t)
	}
	if initial := w.limits(); initial > maxTableSize {
		w.failf("has a table of %d elements: the maximum is %d", initial, maxTableSize)
	}
}

// limits reads the limits of a memory or table and returns its initial size.
func (w *rewriter) limits() uint64 {
	flags := w.readByte()
	initial := w.readUvarint()
	if flags&1 != 0 {
		w.readUvarint()
	}
	return initial
}

func (w *rewriter) elementSegment() {
	kind := w.readUvarint()
	if kind > 7 {
		w.failf("has an element segment of unknown kind %d", kind)
	}
	passive, explicit, expressions := kind&1 != 0, kind&2 != 0, kind&4 != 0
	if !passive {
		if explicit {
			w.readUvarint() // the index of the table
		}
		w.constantExpression()
	}
	if passive || explicit {
		w.readByte() // the kind or the type of the elements
	}
	if expressions {
		w.readVector(w.constantExpression)
	} else {
		w.readVector(w.functionIndex)
	}
}

func (w *rewriter) dataSegment() {
	switch kind := w.readUvarint(); kind {
	case 0:
		w.constantExpression()
	case 1: // a passive segment, which has no memory and no offset
	case 2:
		w.readUvarint() // the index of the memory
		w.constantExpression()
	default:
		w.failf("has a data segment of unknown kind %d", kind)
	}
	w.skipBytes()
}

// constantExpression reads the instructions of an initializer, up to and including the end
// instruction.
func (w *rewriter) constantExpression() {
	for w.err == nil && w.instruction() != opcodeEnd {
	}
}

// customSection reads a custom section. Only the name section is rewritten, because it contains
// function indexes. Stack traces in the log show the function names from the name section.
func (w *rewriter) customSection() {
	size := w.readLength()
	name := string(w.unread[:size])
	w.skip(size)
	if name != "name" {
		w.unread = nil
		return
	}
	for len(w.unread) > 0 && w.err == nil {
		id := w.readByte()
		w.rewriteSized(func(names *rewriter) {
			switch id {
			case 0: // the name of the module
				names.skipBytes()
			case 1: // the names of functions
				names.readVector(func() { names.functionIndex(); names.skipBytes() })
			case 2: // the names of local variables
				names.readVector(func() { names.functionIndex(); names.readVector(func() { names.readUvarint(); names.skipBytes() }) })
			default:
				names.unread = nil
			}
		})
	}
}
