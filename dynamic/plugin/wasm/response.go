package wasm

import (
	"encoding/binary"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxCodeLength is the maximum length of an error code, in bytes.
const maxCodeLength = 64

// decodeError decodes an error that a handler returned. The encoding is a sequence of parts: the
// code, the text, and the type URL and value of each detail. Each part is preceded by its length, a
// little-endian number of four bytes. If the encoding is malformed, decodeError returns a fault.
func decodeError(encoded []byte) error {
	var parts [][]byte
	for len(encoded) > 0 {
		if len(encoded) < 4 || int64(binary.LittleEndian.Uint32(encoded)) > int64(len(encoded)-4) {
			return abiViolation("module returned a truncated error")
		}
		size := binary.LittleEndian.Uint32(encoded)
		parts = append(parts, encoded[4:4+size])
		encoded = encoded[4+size:]
	}
	if len(parts) < 2 || len(parts)%2 != 0 {
		return abiViolation("module returned an error of %d parts: want code, text and two parts for each detail", len(parts))
	}
	if !validCode(parts[0]) {
		return abiViolation("module returned an error with code %.200q: want 1 to %d lower-case letters, digits and underscores",
			parts[0], maxCodeLength)
	}
	var details []proto.Message
	for i := 2; i < len(parts); i += 2 {
		if !utf8.Valid(parts[i]) {
			return abiViolation("module returned an error detail whose type URL is not valid UTF-8: %.200q", parts[i])
		}
		details = append(details, &anypb.Any{TypeUrl: string(parts[i]), Value: parts[i+1]})
	}
	var text error
	if len(parts[1]) > 0 {
		text = errors.New(string(parts[1]))
	}
	return errors.NewError(errors.ErrorCode(parts[0]), text, details...)
}

// validCode reports whether code has the form of an error code. Plugins may use codes that package
// errors does not define.
func validCode(code []byte) bool {
	for _, c := range code {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return len(code) > 0 && len(code) <= maxCodeLength
}
