package metering

import "fmt"

// rewriter reads a part of a module in the binary format and writes a copy with additions. The copy
// contains everything that has been read, except for bytes read during a call to consume. After an
// error, the read methods return zero without reading anything. Callers therefore need not check
// err after each read.
type rewriter struct {
	// input is the part of the module to be rewritten. unread is the rest of input, which has not
	// been read yet.
	input, unread []byte
	// output is the copy, including the additions.
	output []byte
	// copied is the number of bytes at the start of input that have been copied to output or
	// consumed.
	copied   int
	err      error
	injected *injected
}

// reset sets the part of the module to be read. To leave room for additions, the capacity of the
// output is 25 percent larger than the part.
func (w *rewriter) reset(part []byte) {
	w.input, w.unread = part, part
	w.output = make([]byte, 0, len(part)+len(part)/4)
}

// copyRead appends to the output all bytes that have been read but not copied or consumed yet.
func (w *rewriter) copyRead() {
	read := len(w.input) - len(w.unread)
	w.output = append(w.output, w.input[w.copied:read]...)
	w.copied = read
}

// insert appends bytes that are not part of the input to the output.
func (w *rewriter) insert(bytes []byte) {
	if w.err == nil {
		w.copyRead()
		w.output = append(w.output, bytes...)
	}
}

// consume calls the function read. The bytes that it reads are not copied to the output.
func (w *rewriter) consume(read func()) {
	w.copyRead()
	read()
	w.copied = len(w.input) - len(w.unread)
}

// finish copies the remaining bytes to the output and returns the output.
func (w *rewriter) finish() []byte {
	w.copyRead()
	return w.output
}

// failf records an error, unless there has already been one, and skips the rest of the input. In
// the error message, the formatted text follows the number of the section, as in "section 3 is
// truncated".
func (w *rewriter) failf(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
	w.unread = nil
}

func (w *rewriter) skip(size int) {
	if size > len(w.unread) {
		w.failf("is truncated")
		return
	}
	w.unread = w.unread[size:]
}

func (w *rewriter) readByte() byte {
	if len(w.unread) == 0 {
		w.failf("is truncated")
		return 0
	}
	b := w.unread[0]
	w.unread = w.unread[1:]
	return b
}

// readUvarint reads an unsigned LEB128 number. It can also be used to skip a signed number, because
// the end of a signed number is marked in the same way. A 64-bit number has at most ten bytes.
func (w *rewriter) readUvarint() uint64 {
	var n uint64
	for shift := 0; shift < 70; shift += 7 {
		b := w.readByte()
		n |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			return n
		}
	}
	w.failf("has a number of more than 10 bytes")
	return 0
}

// readLength reads a length in bytes or a count of elements. Each element has at least one byte, so
// a length that exceeds the number of unread bytes is an error. This check prevents the compiler
// from allocating too much memory.
func (w *rewriter) readLength() int {
	n := w.readUvarint()
	if n > uint64(len(w.unread)) {
		w.failf("declares %d bytes or elements, but only %d bytes follow", n, len(w.unread))
		return 0
	}
	return int(n) //nolint:gosec // see above
}

// skipBytes skips a name or another sequence of bytes that is preceded by its length.
func (w *rewriter) skipBytes() { w.skip(w.readLength()) }

// readVector reads a vector. It calls readElement to read each element.
func (w *rewriter) readVector(readElement func()) {
	w.readElements(w.readLength(), readElement)
}

func (w *rewriter) readElements(count int, readElement func()) {
	for range count {
		if w.err != nil {
			return
		}
		readElement()
	}
}

// extendVector reads a vector and writes a copy with one more element, which is the result of
// newElement. It calls readElement to read each of the other elements.
func (w *rewriter) extendVector(newElement func() []byte, readElement func()) {
	var count int
	w.consume(func() { count = w.readLength() })
	w.insert(appendUvarint(nil, uint64(count)+1)) //nolint:gosec // count is not negative
	w.readElements(count, readElement)
	w.insert(newElement())
}

// rewriteSized rewrites a part that is preceded by its length, such as a section or a function
// body, and writes the new length. The function read must read the whole part.
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
		part.failf("has %d unexpected bytes at its end", len(part.unread))
	}
	if part.err != nil {
		w.err, w.unread = part.err, nil
		return
	}
	w.insert(appendSized(nil, part.finish()))
}

// functionIndex reads the index of a function. If the function is not an import, its index in the
// copy is larger by one, because the added import precedes the function.
func (w *rewriter) functionIndex() {
	var index uint64
	w.consume(func() { index = w.readUvarint() })
	if index >= w.injected.importedFunctions {
		index++
	}
	w.insert(appendUvarint(nil, index))
}

// globalIndex reads the index of a global. It accepts only the module's own globals. A larger index
// could refer to the meter, and a module that can set its meter could run forever.
func (w *rewriter) globalIndex() {
	if index := w.readUvarint(); index >= w.injected.globalCount {
		w.failf("refers to global %d, which does not exist", index)
	}
}

// injectSections adds a type, an import and a global section if the module lacks them, each with
// the injected element only. It is called before each section is read; next is the id of that
// section. Sections are sorted by id, so a missing section is added before the first one with a
// higher id. Custom sections, whose id is zero, may be anywhere.
func (w *rewriter) injectSections(next byte) {
	const types, imports, globals, exports = 1, 2, 6, 7
	section := func(id byte, element []byte) {
		w.insert(append([]byte{id}, appendSized(nil, append([]byte{1}, element...))...))
	}
	a := w.injected
	if next > types && !a.hasType {
		section(types, a.typeEntry())
	}
	if next > imports && !a.hasImport {
		section(imports, a.importEntry())
	}
	if next >= exports && !a.hasGlobal {
		section(globals, a.globalEntry())
	}
}
