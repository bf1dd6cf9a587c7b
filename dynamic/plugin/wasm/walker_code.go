package wasm

const (
	opcodeLoop = 0x03
	opcodeEnd  = 0x0b
	opcodeCall = 0x10
	opcodeBulk = 0xfc

	// firstOnBytes is the first of the bulk instructions that is not a conversion of a number.
	firstOnBytes = 8
)

// body reads the local variables and the code of a function, and adds checkpoints.
func (w *walker) body() {
	var locals uint64
	w.each(func() {
		locals = min(locals+min(w.number(), maxLocals+1), maxLocals+1)
		w.byte()
	})
	if locals > maxLocals {
		w.failf("has a function with more than %d local variables", maxLocals)
	}
	w.insert(w.additions.step)
	for len(w.rest) > 0 && w.err == nil {
		switch op := w.rest[0]; {
		case op == opcodeCall && w.next() < w.additions.functions:
			w.insert(w.additions.imported)
		case op == opcodeBulk && w.next() >= firstOnBytes:
			w.insert(w.additions.bulk)
		}
		if w.instruction() == opcodeLoop {
			w.insert(w.additions.step)
		}
	}
}

// next is the number after the code of an instruction that was not read yet.
func (w *walker) next() uint64 {
	ahead := walker{rest: w.rest[1:]}
	return ahead.number()
}

// instruction reads an instruction with what follows its code, which it returns.
func (w *walker) instruction() byte {
	op := w.byte()
	switch {
	case op == opcodeBulk:
		w.bulkInstruction()
	case op == 0xfd:
		w.vectorInstruction()
	case op == opcodeCall || op == 0xd2: // ref.func
		w.function()
	case op == 0x23 || op == 0x24: // global.get, global.set
		w.global()
	case op == 0x0e: // br_table
		w.each(func() { w.number() })
		w.number()
	case op == 0x1c: // select with types
		w.bytes()
	case op == 0x43: // f32.const
		w.skip(4)
	case op == 0x44: // f64.const
		w.skip(8)
	case op <= 0x01, op == 0x05, op == 0x0b, op == 0x0f, op == 0x1a, op == 0x1b, op >= 0x45 && op <= 0xc4, op == 0xd1:
		// alone: unreachable, nop, else, end, return, drop, select, arithmetic, ref.is_null
	case op >= 0x02 && op <= 0x04, op == 0x0c, op == 0x0d, op >= 0x20 && op <= 0x26, op >= 0x3f && op <= 0x42, op == 0xd0:
		w.number() // blocks with their types, branches, variables, tables, size of memory, constants, ref.null
	case op == 0x11, op >= 0x28 && op <= 0x3e:
		w.number() // call_indirect with type and table, memory with alignment and offset
		w.number()
	default:
		w.failf("has the unknown instruction %#x", op)
	}
	return op
}

// bulkInstruction reads what follows the first byte of conversions, and of instructions on many bytes or elements.
func (w *walker) bulkInstruction() {
	switch op := w.number(); {
	case op <= 7: // conversions
	case op == 9, op == 11, op == 13, op >= 15 && op <= 17: // data.drop, memory.fill, elem.drop, sizes of tables
		w.number()
	case op <= 14: // memory.init, memory.copy, table.init, table.copy
		w.number()
		w.number()
	default:
		w.failf("has the unknown instruction 0xfc %d", op)
	}
}

// vectorInstruction reads what follows the first byte of instructions on vectors.
func (w *walker) vectorInstruction() {
	switch op := w.number(); {
	case op <= 11, op == 92, op == 93: // memory with alignment and offset
		w.number()
		w.number()
	case op == 12, op == 13: // v128.const, i8x16.shuffle
		w.skip(16)
	case op >= 21 && op <= 34: // a lane
		w.byte()
	case op >= 84 && op <= 91: // memory, and a lane
		w.number()
		w.number()
		w.byte()
	case op > 0xff:
		w.failf("has the unknown instruction 0xfd %d", op)
	}
}
