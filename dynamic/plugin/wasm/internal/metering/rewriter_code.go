package metering

const (
	opcodeLoop = 0x03
	opcodeEnd  = 0x0b
	opcodeCall = 0x10
	// opcodeBulk is the first byte of the saturating conversions and of the bulk memory
	// instructions.
	opcodeBulk = 0xfc

	// firstBulkMemory is the lowest number after opcodeBulk that stands for a bulk memory
	// instruction. Lower numbers stand for conversions between number types, which take constant
	// time.
	firstBulkMemory = 8
)

// functionBody rewrites the code of a function: it adds meter points, which leave the operand stack
// unchanged. The meter point of a loop follows the loop instruction, so that every iteration
// executes it. The meter point of a bulk memory instruction or a call precedes the instruction.
func (w *rewriter) functionBody() {
	var locals uint64
	w.readVector(func() {
		locals = min(locals+min(w.readUvarint(), maxLocals+1), maxLocals+1)
		w.readByte()
	})
	if locals > maxLocals {
		w.failf("has a function with more than %d local variables", maxLocals)
	}
	w.insert(w.injected.stepMeter)
	for len(w.unread) > 0 && w.err == nil {
		switch op := w.unread[0]; {
		case op == opcodeCall && w.peekUvarint() < w.injected.importedFunctions:
			w.insert(w.injected.importMeter)
		case op == opcodeBulk && w.peekUvarint() >= firstBulkMemory:
			w.insert(w.injected.bulkMeter)
		}
		if w.instruction() == opcodeLoop {
			w.insert(w.injected.stepMeter)
		}
	}
}

// peekUvarint returns the number that follows the opcode of the next instruction. The number
// remains unread.
func (w *rewriter) peekUvarint() uint64 {
	ahead := rewriter{unread: w.unread[1:]}
	return ahead.readUvarint()
}

// instruction reads an instruction with its operands and returns its opcode. It rewrites function
// indexes and checks the indexes of globals.
func (w *rewriter) instruction() byte {
	op := w.readByte()
	switch {
	case op == opcodeBulk:
		w.bulkInstruction()
	case op == 0xfd:
		w.simdInstruction()
	case op == opcodeCall || op == 0xd2: // call and ref.func
		w.functionIndex()
	case op == 0x23 || op == 0x24: // global.get and global.set
		w.globalIndex()
	case op == 0x0e: // br_table
		w.readVector(func() { w.readUvarint() })
		w.readUvarint()
	case op == 0x1c: // select with explicit types
		w.skipBytes()
	case op == 0x43: // f32.const
		w.skip(4)
	case op == 0x44: // f64.const
		w.skip(8)
	// These instructions have no operands: unreachable, nop, else, end, return, drop, select,
	// arithmetic and ref.is_null.
	case op <= 0x01, op == 0x05, op == 0x0b, op == 0x0f, op == 0x1a, op == 0x1b, op >= 0x45 && op <= 0xc4, op == 0xd1:
	// These instructions have one operand: blocks, branches, access to variables and tables,
	// memory.size, memory.grow, constants and ref.null. The operand of a block is its type.
	case op >= 0x02 && op <= 0x04, op == 0x0c, op == 0x0d, op >= 0x20 && op <= 0x26, op >= 0x3f && op <= 0x42, op == 0xd0:
		w.readUvarint()
	// These instructions have two operands. They are a type and a table for call_indirect, and an
	// alignment and an offset for loads and stores.
	case op == 0x11, op >= 0x28 && op <= 0x3e:
		w.readUvarint()
		w.readUvarint()
	default:
		w.failf("has the unknown instruction %#x", op)
	}
	return op
}

// bulkInstruction reads the rest of an instruction that starts with opcodeBulk.
func (w *rewriter) bulkInstruction() {
	switch op := w.readUvarint(); {
	case op <= 7: // conversions between number types, which have no operands
	// These instructions have one operand: data.drop, memory.fill, elem.drop, table.grow,
	// table.size and table.fill.
	case op == 9, op == 11, op == 13, op >= 15 && op <= 17:
		w.readUvarint()
	// These instructions have two operands: memory.init, memory.copy, table.init and table.copy.
	case op <= 14:
		w.readUvarint()
		w.readUvarint()
	default:
		w.failf("has the unknown instruction 0xfc %d", op)
	}
}

// simdInstruction reads the rest of an instruction that starts with the SIMD prefix 0xfd.
func (w *rewriter) simdInstruction() {
	switch op := w.readUvarint(); {
	case op <= 11, op == 92, op == 93: // loads and stores, which have an alignment and an offset
		w.readUvarint()
		w.readUvarint()
	case op == 12, op == 13: // v128.const and i8x16.shuffle, whose operands are 16 bytes long
		w.skip(16)
	case op >= 21 && op <= 34: // instructions on one lane, whose operand is the index of the lane
		w.readByte()
	// Loads and stores of one lane have an alignment, an offset and the index of the lane.
	case op >= 84 && op <= 91:
		w.readUvarint()
		w.readUvarint()
		w.readByte()
	case op > 0xff:
		w.failf("has the unknown instruction 0xfd %d", op)
	}
}
