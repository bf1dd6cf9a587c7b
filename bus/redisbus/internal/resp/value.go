package resp

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
)

// maxBulk is the maximum length of a RESP string, in bytes.
const maxBulk = 512 << 20

// readLine reads a line. It returns the first byte, which identifies the kind of the RESP value,
// and the rest of the line without CRLF. The content slice is valid until the next read.
func readLine(r *bufio.Reader) (kind byte, content []byte, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < len("+\r\n") || line[len(line)-2] != '\r' {
		return 0, nil, unexpectedError(line)
	}
	return line[0], line[1 : len(line)-2], nil
}

// readBulk reads a RESP string into buffer, or into newly allocated memory if buffer is too small.
func readBulk(r *bufio.Reader, buffer []byte) ([]byte, error) {
	kind, content, err := readLine(r)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(string(content))
	if kind != '$' || err != nil || n < 0 || n > maxBulk {
		return nil, unexpectedError(content)
	}
	if n > cap(buffer) {
		buffer = make([]byte, n)
	}
	if _, err = io.ReadFull(r, buffer[:n]); err != nil {
		return nil, err
	}
	end, err := r.ReadSlice('\n')
	if err == nil && string(end) != "\r\n" {
		err = unexpectedError(end)
	}
	return buffer[:n], err
}

// unexpectedError returns the error for input that is not valid RESP or does not match any command
// sent by the bus.
func unexpectedError(input any) error { return fmt.Errorf("unexpected %q from redis", input) }
