package resp

import (
	"bufio"
	"strconv"
)

// WriteCommand writes a command as a RESP array of strings. It allocates no memory. Errors are
// reported by the writer's Flush method.
func WriteCommand(w *bufio.Writer, args ...string) {
	writeHeader(w, '*', len(args))
	for _, arg := range args {
		writeHeader(w, '$', len(arg))
		_, _ = w.WriteString(arg)
		_, _ = w.WriteString("\r\n")
	}
}

// writeHeader writes the first line of an array or string.
func writeHeader(w *bufio.Writer, kind byte, n int) {
	header := strconv.AppendInt(append(w.AvailableBuffer(), kind), int64(n), 10)
	_, _ = w.Write(append(header, '\r', '\n'))
}
