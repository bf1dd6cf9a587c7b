package wasm

import "slices"

// section reads the content of a section.
func (w *walker) section(id byte) {
	switch id {
	case 0: // custom
		w.custom()
	case 1: // types
		w.each(w.functionType)
	case 2: // imports
		w.each(func() { w.bytes(); w.bytes(); w.imported() })
	case 3: // types of functions
		w.each(func() { w.number() })
	case 4: // tables
		w.each(w.table)
	case 5: // memories
		w.each(func() { w.limits() })
	case 6: // globals
		w.each(func() { w.skip(2); w.expression() })
	case 7: // exports
		w.each(func() { w.bytes(); w.byte(); w.number() })
	case 8, 12: // start, count of data
		w.number()
	case 9: // elements
		w.each(w.elements)
	case 10: // functions
		w.each(func() { w.function(w.part()) })
	case 11: // data
		w.each(w.data)
	default:
		w.failf("is of no known kind")
	}
}

// valueTypes are numbers, vectors and references, as one byte each.
var valueTypes = []byte{0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f}

func (w *walker) functionType() {
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
		w.number()
	case 1:
		w.table()
	case 2: // memory
		w.limits()
	case 3: // global
		w.skip(2)
	default:
		w.failf("has an import of the kind %d", kind)
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

func (w *walker) elements() {
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
	w.each(func() {
		if expressions {
			w.expression()
		} else {
			w.number()
		}
	})
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

// function reads the local variables of a function.
func (w *walker) function(body *walker) {
	var locals uint64
	body.each(func() {
		locals = min(locals+body.number(), maxLocals+1)
		body.byte()
	})
	if body.err != nil {
		w.failf("has a function that %w", body.err)
	} else if locals > maxLocals {
		w.failf("has a function with more than %d local variables", maxLocals)
	}
}

// expression reads an expression that is constant.
func (w *walker) expression() {
	for w.err == nil {
		switch op := w.byte(); op {
		case 0x0b: // end
			return
		case 0x23, 0x41, 0x42, 0xd0, 0xd2: // a global, a number, a reference
			w.number()
		case 0x43: // a number of 4 bytes
			w.skip(4)
		case 0x44: // a number of 8 bytes
			w.skip(8)
		case 0xfd: // a vector
			w.number()
			w.skip(16)
		default:
			w.failf("has an expression with the operation %#x", op)
		}
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
		names := w.part()
		switch id {
		case 0: // of the module
			names.bytes()
		case 1: // of functions
			names.each(names.named)
		case 2: // of local variables
			names.each(func() { names.number(); names.each(names.named) })
		default:
			names.rest = nil
		}
		if names.err == nil && len(names.rest) > 0 {
			names.failf("has %d bytes too many", len(names.rest))
		}
		if names.err != nil {
			w.failf("has a list of names that %w", names.err)
		}
	}
}

// named reads a number and its name.
func (w *walker) named() {
	w.number()
	w.bytes()
}
