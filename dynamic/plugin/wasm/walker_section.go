package wasm

import "slices"

const (
	// maxLocals is how many local variables a function may have, as in web browsers.
	maxLocals = 50_000
	// maxTable is how many elements a table may have at the start.
	maxTable = 10_000_000
)

// section reads the content of a section.
func (w *walker) section(id byte) {
	switch id {
	case 0: // custom
		w.custom()
	case 1: // types
		w.eachAnd(w.additions.addedType, w.functionType)
	case 2: // imports
		w.eachAnd(w.additions.addedImport, func() { w.bytes(); w.bytes(); w.imported() })
	case 3: // types of functions
		w.each(func() { w.number() })
	case 4: // tables
		w.each(w.table)
	case 5: // memories
		w.each(func() { w.limits() })
	case 6: // globals
		w.eachAnd(w.additions.addedGlobal, func() { w.skip(2); w.expression(); w.additions.globals++ })
	case 7: // exports
		w.each(w.exported)
	case 8: // start
		w.function()
	case 9: // elements of tables
		w.each(w.tableElements)
	case 10: // code
		w.additions.makeCheckpoints()
		w.each(func() { w.nested((*walker).body) })
	case 11: // data
		w.each(w.data)
	case 12: // number of data
		w.number()
	default:
		w.failf("is of no known kind")
	}
}

// valueTypes are numbers, vectors and references, as one byte each.
var valueTypes = []byte{0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f}

func (w *walker) functionType() {
	w.additions.types++
	if form := w.byte(); w.err == nil && form != 0x60 {
		w.failf("has a type of the form %#x, not a function", form)
	}
	for range 2 { // parameters and results
		w.each(func() {
			if t := w.byte(); w.err == nil && !slices.Contains(valueTypes, t) {
				w.failf("has a value of the type %#x", t)
			}
		})
	}
}

func (w *walker) imported() {
	switch kind := w.byte(); kind {
	case 0: // function
		w.additions.functions++
		w.number()
	case 1:
		w.table()
	case 2: // memory
		w.limits()
	case 3: // global
		w.additions.globals++
		w.skip(2)
	default:
		w.failf("has an import of the kind %d", kind)
	}
}

func (w *walker) exported() {
	w.bytes()
	switch kind := w.byte(); kind {
	case 0:
		w.function()
	case 3:
		w.global()
	default:
		w.number()
	}
}

func (w *walker) table() {
	if t := w.byte(); w.err == nil && t != 0x70 && t != 0x6f {
		w.failf("has a table of the type %#x", t)
	}
	if least := w.limits(); least > maxTable {
		w.failf("has a table of %d elements: it may have %d", least, maxTable)
	}
}

// limits returns the least size.
func (w *walker) limits() uint64 {
	flags := w.byte()
	least := w.number()
	if flags&1 != 0 {
		w.number()
	}
	return least
}

func (w *walker) tableElements() {
	kind := w.number()
	if kind > 7 {
		w.failf("has elements of the kind %d", kind)
	}
	passive, explicit, expressions := kind&1 != 0, kind&2 != 0, kind&4 != 0
	if !passive {
		if explicit {
			w.number() // the table
		}
		w.expression()
	}
	if passive || explicit {
		w.byte() // the type
	}
	if expressions {
		w.each(w.expression)
	} else {
		w.each(w.function)
	}
}

func (w *walker) data() {
	switch kind := w.number(); kind {
	case 0:
		w.expression()
	case 1: // passive
	case 2:
		w.number() // the memory
		w.expression()
	default:
		w.failf("has data of the kind %d", kind)
	}
	w.bytes()
}

// expression reads an expression that is constant.
func (w *walker) expression() {
	for w.err == nil && w.instruction() != opcodeEnd {
	}
}

// custom reads a custom section, of which only the one with names matters.
func (w *walker) custom() {
	size := w.count()
	name := string(w.rest[:size])
	w.skip(size)
	if name != "name" {
		w.rest = nil
		return
	}
	for len(w.rest) > 0 && w.err == nil {
		id := w.byte()
		w.nested(func(names *walker) {
			switch id {
			case 0: // of the module
				names.bytes()
			case 1: // of functions
				names.each(func() { names.function(); names.bytes() })
			case 2: // of local variables
				names.each(func() { names.function(); names.each(func() { names.number(); names.bytes() }) })
			default:
				names.rest = nil
			}
		})
	}
}
