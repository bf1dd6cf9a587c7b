package wasm

import (
	"encoding/binary"
	"fmt"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// header is how a module of WebAssembly begins.
const header = "\x00asm\x01\x00\x00\x00"

const (
	// maxLocals is how many local variables a function may have, as in web browsers.
	maxLocals = 50_000
	// maxTable is how many elements a table may have at the start.
	maxTable = 10_000_000
)

// checkStructure refuses a module which says that it has more of something than its bytes can hold, or more than any program
// needs. The compiler makes room for what is promised before it looks for it, and where there is no memory a Go program ends:
// without this a module of 20 bytes could end the host. All else is left to the compiler.
func checkStructure(module []byte) error {
	if len(module) < len(header) || string(module[:len(header)]) != header {
		return errors.New("the code is not a WebAssembly module, or of another version than 1")
	}
	w := &walker{rest: module[len(header):]}
	for len(w.rest) > 0 && w.err == nil {
		id := w.byte()
		content := w.part()
		if w.err != nil {
			break
		}
		content.section(id)
		if content.err == nil && len(content.rest) > 0 {
			content.failf("has %d bytes too many", len(content.rest))
		}
		if content.err != nil {
			return fmt.Errorf("the code is not a WebAssembly module that can be run here: section %d %w", id, content.err)
		}
	}
	if w.err != nil {
		return fmt.Errorf("the code is not a whole WebAssembly module: it %w", w.err)
	}
	return nil
}

// walker reads a part of a module. After an error it reads zeros and no elements of lists.
type walker struct {
	rest []byte
	err  error
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

// number reads an unsigned number of any size, or skips a signed one.
func (w *walker) number() uint64 {
	n, size := binary.Uvarint(w.rest)
	if size <= 0 {
		w.failf("is cut short, or has a number that is too long")
		return 0
	}
	w.rest = w.rest[size:]
	return n
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

// part reads the bytes that follow, of the size that is before them.
func (w *walker) part() *walker {
	size := w.count()
	part := &walker{rest: w.rest[:size]}
	w.skip(size)
	return part
}

// bytes skips a text or other bytes.
func (w *walker) bytes() { w.skip(w.count()) }

// each reads a list.
func (w *walker) each(element func()) {
	for range w.count() {
		if w.err != nil {
			return
		}
		element()
	}
}
