package wasm

import (
	"encoding/binary"
	"fmt"
)

// walker reads a part of a module, and writes it with additions. After an error it reads zeros and no elements of lists.
type walker struct {
	rest      []byte // what was not read yet
	err       error
	additions *additions

	all     []byte // of the part
	written []byte
	copied  int // bytes of all that are written, or replaced
}

func (w *walker) begin(part []byte) {
	w.all, w.rest = part, part
	w.written = make([]byte, 0, len(part)+len(part)/4)
}

// copy writes what was read since the last replacement.
func (w *walker) copy() {
	read := len(w.all) - len(w.rest)
	w.written = append(w.written, w.all[w.copied:read]...)
	w.copied = read
}

// insert writes something that the part does not have.
func (w *walker) insert(added []byte) {
	if w.err == nil {
		w.copy()
		w.written = append(w.written, added...)
	}
}

// replace leaves out what read reads.
func (w *walker) replace(read func()) {
	w.copy()
	read()
	w.copied = len(w.all) - len(w.rest)
}

// finish returns the part as it was written.
func (w *walker) finish() []byte {
	w.copy()
	return w.written
}

func (w *walker) failf(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
	w.rest = nil
}

func (w *walker) skip(size int) {
	if size > len(w.rest) {
		w.failf("is cut short")
		return
	}
	w.rest = w.rest[size:]
}

func (w *walker) byte() byte {
	if len(w.rest) == 0 {
		w.failf("is cut short")
		return 0
	}
	b := w.rest[0]
	w.rest = w.rest[1:]
	return b
}

// number reads an unsigned number, or skips a signed one.
func (w *walker) number() uint64 {
	var n uint64
	for shift := 0; shift < 70; shift += 7 { // the longest has 10 bytes
		b := w.byte()
		n |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			return n
		}
	}
	w.failf("has a number that is too long")
	return 0
}

// count reads how many bytes or elements follow; an element has a byte at least.
func (w *walker) count() int {
	n := w.number()
	if n > uint64(len(w.rest)) {
		w.failf("has %d bytes left, where it says that %d bytes or elements follow", len(w.rest), n)
		return 0
	}
	return int(n) //nolint:gosec // see above
}

// bytes skips a text or other bytes.
func (w *walker) bytes() { w.skip(w.count()) }

// each reads a list.
func (w *walker) each(element func()) {
	w.elements(w.count(), element)
}

func (w *walker) elements(count int, element func()) {
	for range count {
		if w.err != nil {
			return
		}
		element()
	}
}

// eachAnd reads a list, and adds an element to it.
func (w *walker) eachAnd(added func() []byte, element func()) {
	var count int
	w.replace(func() { count = w.count() })
	w.insert(appendNumber(nil, uint64(count)+1)) //nolint:gosec // it is not negative
	w.elements(count, element)
	w.insert(added())
}

// nested reads bytes that have their number before them.
func (w *walker) nested(read func(part *walker)) {
	part := &walker{additions: w.additions}
	w.replace(func() {
		size := w.count()
		part.begin(w.rest[:size])
		w.skip(size)
	})
	if w.err != nil {
		return
	}
	read(part)
	if part.err == nil && len(part.rest) > 0 {
		part.failf("has %d bytes too many", len(part.rest))
	}
	if part.err != nil {
		w.err, w.rest = part.err, nil
		return
	}
	w.insert(appendPart(nil, part.finish()))
}

// function reads the number of a function, which rises if it is one of the module itself.
func (w *walker) function() {
	var number uint64
	w.replace(func() { number = w.number() })
	if number >= w.additions.functions {
		number++
	}
	w.insert(appendNumber(nil, number))
}

// global reads the number of a variable. The one that counts is the host's: code that could set it would not end.
func (w *walker) global() {
	if number := w.number(); number >= w.additions.globals {
		w.failf("has the variable %d, which is not there", number)
	}
}

func appendNumber(to []byte, number uint64) []byte { return binary.AppendUvarint(to, number) }

// appendSigned appends a signed number.
func appendSigned(to []byte, number int64) []byte {
	for number < -0x40 || number >= 0x40 {
		to = append(to, byte(number&0x7f|0x80)) //nolint:gosec // 7 bits of it
		number >>= 7
	}
	return append(to, byte(number&0x7f))
}

func appendPart(to, part []byte) []byte {
	return append(appendNumber(to, uint64(len(part))), part...)
}

func appendText(to []byte, text string) []byte { return appendPart(to, []byte(text)) }
