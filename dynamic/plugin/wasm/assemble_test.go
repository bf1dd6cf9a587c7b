package wasm

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// These constants are WebAssembly opcodes and block types.
const (
	opUnreachable  = 0x00
	opcodeLoop     = 0x03
	opIf           = 0x04
	opcodeEnd      = 0x0b
	opBranch       = 0x0c
	opcodeCall     = 0x10
	opCallIndirect = 0x11
	opLocalGet     = 0x20
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opDrop         = 0x1a
	opI32Add       = 0x6a
	opI64Or        = 0x84
	opI64Shl       = 0x86
	opI64ExtendU   = 0xad
	opcodeBulk     = 0xfc
	blockEmpty     = 0x40
)

// header is the magic number and the version at the start of every WebAssembly module.
const header = "\x00asm\x01\x00\x00\x00"

// function describes a function that an assembled module defines.
type function struct {
	export string // the exported name, or empty
	signature
	body []byte // the code without the final end opcode
}

// imported describes a function that an assembled module imports. The indexes of imported functions
// precede those of the module's own functions.
type imported struct {
	module, name string
	signature
}

// assembled describes a small module that encode assembles.
type assembled struct {
	imports   []imported
	functions []function
	pages     uint32 // the number of memory pages at the start, or 0 for no memory
	start     int    // the index of the function that runs at the start, or -1
	list      string // the text that the module stores at listAddress
	// tables and elements are encoded sections, or empty.
	tables, elements []byte
}

const (
	listAddress  = 1024
	inputAddress = 4096
)

// echoModule returns a hand-written module that serves the method test.Bytes/Echo.
func echoModule() *assembled {
	const list = "test.Bytes/Echo"
	return &assembled{
		pages: 1,
		start: -1,
		list:  list,
		functions: []function{
			{exportVersion, exports[0].signature, i32Const(abiVersion)},
			{exportAlloc, exports[1].signature, i32Const(inputAddress)},
			{exportDescribe, exports[2].signature, i64Const(listAddress<<32 | int64(len(list)))},
			{exportCall, exports[3].signature, []byte{
				opLocalGet, 1, opI64ExtendU, opI64Const, 32, opI64Shl, opLocalGet, 2, opI64ExtendU, opI64Or,
			}},
		},
	}
}

// with replaces the body of an exported function.
func (m *assembled) with(export string, body ...byte) *assembled {
	m.functions[m.index(export)].body = body
	return m
}

// without removes an exported function.
func (m *assembled) without(export string) *assembled {
	i := m.index(export)
	m.functions = slices.Delete(m.functions, i, i+1)
	return m
}

func (m *assembled) index(export string) int {
	return slices.IndexFunc(m.functions, func(f function) bool { return f.export == export })
}

// encode returns the module in the binary format of WebAssembly.
func (m *assembled) encode() []byte {
	var types, imports, functions, exported, bodies [][]byte
	for _, i := range m.imports {
		types = append(types, i.encode())
		imports = append(imports, slices.Concat(text(i.module), text(i.name), []byte{0}, uleb(len(types)-1)))
	}
	for i, f := range m.functions {
		types = append(types, f.encode())
		functions = append(functions, uleb(len(types)-1))
		if f.export != "" {
			exported = append(exported, slices.Concat(text(f.export), []byte{0}, uleb(len(m.imports)+i)))
		}
		// The 0 means that there are no local variables.
		body := slices.Concat([]byte{0}, f.body, []byte{opcodeEnd})
		bodies = append(bodies, slices.Concat(uleb(len(body)), body))
	}
	code := []byte(header)
	code = append(code, section(1, vector(types...))...)
	code = append(code, section(2, vector(imports...))...)
	code = append(code, section(3, vector(functions...))...)
	code = append(code, m.tables...)
	if m.pages > 0 {
		code = append(code, section(5, vector(append([]byte{0}, uleb(int(m.pages))...)))...)
		exported = append(exported, slices.Concat(text(exportMemory), []byte{2, 0}))
	}
	code = append(code, section(7, vector(exported...))...)
	if m.start >= 0 {
		code = append(code, section(8, uleb(m.start))...)
	}
	code = append(code, m.elements...)
	code = append(code, section(10, vector(bodies...))...)
	if m.list != "" {
		data := slices.Concat([]byte{0}, i32Const(listAddress), []byte{opcodeEnd}, text(m.list))
		code = append(code, section(11, vector(data))...)
	}
	return code
}

func (s signature) encode() []byte {
	return slices.Concat([]byte{0x60}, text(string(s.parameters)), text(string(s.results)))
}

func section(id byte, content []byte) []byte {
	return slices.Concat([]byte{id}, uleb(len(content)), content)
}

func vector(elements ...[]byte) []byte {
	return slices.Concat(uleb(len(elements)), bytes.Join(elements, nil))
}

func text(s string) []byte { return append(uleb(len(s)), s...) }

func uleb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// sleb encodes a number in signed LEB128.
func sleb(n int64) (encoded []byte) {
	for ; n < -0x40 || n >= 0x40; n >>= 7 {
		encoded = append(encoded, byte(n&0x7f|0x80))
	}
	return append(encoded, byte(n&0x7f))
}

func i32Const(n int64) []byte { return append([]byte{opI32Const}, sleb(n)...) }

func i64Const(n int64) []byte { return append([]byte{opI64Const}, sleb(n)...) }
