package wasm

import "slices"

const (
	// maxLocals is how many local variables a function may have, as in web browsers.
	maxLocals = 50_000
	// maxTableSize is how many elements a table may have at the start.
	maxTableSize = 10_000_000
)

// section reads the content of a section.
func (w *rewriter) section(id byte) {
	switch id {
	case 0: // custom
		w.customSection()
	case 1: // types
		w.extendVector(w.injected.typeEntry, w.functionType)
	case 2: // imports
		w.extendVector(w.injected.importEntry, func() { w.skipBytes(); w.skipBytes(); w.importEntry() })
	case 3: // types of functions
		w.readVector(func() { w.readUvarint() })
	case 4: // tables
		w.readVector(w.tableType)
	case 5: // memories
		w.readVector(func() { w.limits() })
	case 6: // globals
		w.extendVector(w.injected.globalEntry, func() { w.skip(2); w.constantExpression(); w.injected.globalCount++ })
	case 7: // exports
		w.readVector(w.exportEntry)
	case 8: // start
		w.functionIndex()
	case 9: // elements of tables
		w.readVector(w.elementSegment)
	case 10: // code
		w.injected.makeMeterPoints()
		w.readVector(func() { w.rewriteSized((*rewriter).functionBody) })
	case 11: // data
		w.readVector(w.dataSegment)
	case 12: // number of data
		w.readUvarint()
	default:
		w.failf("is of no known kind")
	}
}

// valueTypes are numbers, vectors and references, as one byte each.
var valueTypes = []byte{0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f}

func (w *rewriter) functionType() {
	w.injected.typeCount++
	if form := w.readByte(); w.err == nil && form != 0x60 {
		w.failf("has a type of the form %#x, not a function", form)
	}
	for range 2 { // parameters and results
		w.readVector(func() {
			if t := w.readByte(); w.err == nil && !slices.Contains(valueTypes, t) {
				w.failf("has a value of the type %#x", t)
			}
		})
	}
}

func (w *rewriter) importEntry() {
	switch kind := w.readByte(); kind {
	case 0: // function
		w.injected.importedFunctions++
		w.readUvarint()
	case 1:
		w.tableType()
	case 2: // memory
		w.limits()
	case 3: // global
		w.injected.globalCount++
		w.skip(2)
	default:
		w.failf("has an import of the kind %d", kind)
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
		w.failf("has a table of the type %#x", t)
	}
	if least := w.limits(); least > maxTableSize {
		w.failf("has a table of %d elements: it may have %d", least, maxTableSize)
	}
}

// limits returns the least size.
func (w *rewriter) limits() uint64 {
	flags := w.readByte()
	least := w.readUvarint()
	if flags&1 != 0 {
		w.readUvarint()
	}
	return least
}

func (w *rewriter) elementSegment() {
	kind := w.readUvarint()
	if kind > 7 {
		w.failf("has elements of the kind %d", kind)
	}
	passive, explicit, expressions := kind&1 != 0, kind&2 != 0, kind&4 != 0
	if !passive {
		if explicit {
			w.readUvarint() // the table
		}
		w.constantExpression()
	}
	if passive || explicit {
		w.readByte() // the type
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
	case 1: // passive
	case 2:
		w.readUvarint() // the memory
		w.constantExpression()
	default:
		w.failf("has data of the kind %d", kind)
	}
	w.skipBytes()
}

// constantExpression reads an expression that is constant.
func (w *rewriter) constantExpression() {
	for w.err == nil && w.instruction() != opcodeEnd {
	}
}

// customSection reads a custom section, of which only the one with names matters.
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
			case 0: // of the module
				names.skipBytes()
			case 1: // of functions
				names.readVector(func() { names.functionIndex(); names.skipBytes() })
			case 2: // of local variables
				names.readVector(func() { names.functionIndex(); names.readVector(func() { names.readUvarint(); names.skipBytes() }) })
			default:
				names.unread = nil
			}
		})
	}
}
