package wasm

import (
	"encoding/binary"
	"fmt"
)

// rewriter reads a part of a module, and writes it with additions. After an error it reads zeros and no elements of lists.
type rewriter struct {
	unread   []byte // what was not read yet
	err      error
	injected *injected

	input  []byte // of the part
	output []byte
	copied int // bytes of all that are written, or replaced
}

func (w *rewriter) reset(part []byte) {
	w.input, w.unread = part, part
	w.output = make([]byte, 0, len(part)+len(part)/4)
}

// copyRead writes what was read since the last replacement.
func (w *rewriter) copyRead() {
	read := len(w.input) - len(w.unread)
	w.output = append(w.output, w.input[w.copied:read]...)
	w.copied = read
}

// insert writes something that the part does not have.
func (w *rewriter) insert(added []byte) {
	if w.err == nil {
		w.copyRead()
		w.output = append(w.output, added...)
	}
}

// consume leaves out what read reads.
func (w *rewriter) consume(read func()) {
	w.copyRead()
	read()
	w.copied = len(w.input) - len(w.unread)
}

// finish returns the part as it was written.
func (w *rewriter) finish() []byte {
	w.copyRead()
	return w.output
}

func (w *rewriter) failf(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
	w.unread = nil
}

func (w *rewriter) skip(size int) {
	if size > len(w.unread) {
		w.failf("is cut short")
		return
	}
	w.unread = w.unread[size:]
}

func (w *rewriter) readByte() byte {
	if len(w.unread) == 0 {
		w.failf("is cut short")
		return 0
	}
	b := w.unread[0]
	w.unread = w.unread[1:]
	return b
}

// readUvarint reads an unsigned number, or skips a signed one.
func (w *rewriter) readUvarint() uint64 {
	var n uint64
	for shift := 0; shift < 70; shift += 7 { // the longest has 10 bytes
		b := w.readByte()
		n |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			return n
		}
	}
	w.failf("has a number that is too long")
	return 0
}

// readLength reads how many bytes or elements follow; an element has a byte at least.
func (w *rewriter) readLength() int {
	n := w.readUvarint()
	if n > uint64(len(w.unread)) {
		w.failf("has %d bytes left, where it says that %d bytes or elements follow", len(w.unread), n)
		return 0
	}
	return int(n) //nolint:gosec // see above
}

// skipBytes skips a text or other bytes.
func (w *rewriter) skipBytes() { w.skip(w.readLength()) }

// readVector reads a list.
func (w *rewriter) readVector(element func()) {
	w.readElements(w.readLength(), element)
}

func (w *rewriter) readElements(count int, element func()) {
	for range count {
		if w.err != nil {
			return
		}
		element()
	}
}

// extendVector reads a list, and adds an element to it.
func (w *rewriter) extendVector(added func() []byte, element func()) {
	var count int
	w.consume(func() { count = w.readLength() })
	w.insert(appendUvarint(nil, uint64(count)+1)) //nolint:gosec // it is not negative
	w.readElements(count, element)
	w.insert(added())
}

// rewriteSized reads bytes that have their number before them.
func (w *rewriter) rewriteSized(read func(part *rewriter)) {
	part := &rewriter{injected: w.injected}
	w.consume(func() {
		size := w.readLength()
		part.reset(w.unread[:size])
		w.skip(size)
	})
	if w.err != nil {
		return
	}
	read(part)
	if part.err == nil && len(part.unread) > 0 {
		part.failf("has %d bytes too many", len(part.unread))
	}
	if part.err != nil {
		w.err, w.unread = part.err, nil
		return
	}
	w.insert(appendSized(nil, part.finish()))
}

// functionIndex reads the number of a function, which rises if it is one of the module itself.
func (w *rewriter) functionIndex() {
	var number uint64
	w.consume(func() { number = w.readUvarint() })
	if number >= w.injected.importedFunctions {
		number++
	}
	w.insert(appendUvarint(nil, number))
}

// globalIndex reads the number of a variable. The one that counts is the host's: code that could set it would not end.
func (w *rewriter) globalIndex() {
	if number := w.readUvarint(); number >= w.injected.globalCount {
		w.failf("has the variable %d, which is not there", number)
	}
}

func appendUvarint(to []byte, number uint64) []byte { return binary.AppendUvarint(to, number) }

// appendVarint appends a signed number.
func appendVarint(to []byte, number int64) []byte {
	for number < -0x40 || number >= 0x40 {
		to = append(to, byte(number&0x7f|0x80)) //nolint:gosec // 7 bits of it
		number >>= 7
	}
	return append(to, byte(number&0x7f))
}

func appendSized(to, part []byte) []byte {
	return append(appendUvarint(to, uint64(len(part))), part...)
}

func appendName(to []byte, text string) []byte { return appendSized(to, []byte(text)) }
