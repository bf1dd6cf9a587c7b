package wasm

import (
	"encoding/binary"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxCodeLength is how long the code of an error may be.
const maxCodeLength = 64

// decodeError returns the error that code has returned, or a fault: code and text, and type and value of each detail, each
// with its length before it.
func decodeError(encoded []byte) error {
	var parts [][]byte
	for len(encoded) > 0 {
		if len(encoded) < 4 || int64(binary.LittleEndian.Uint32(encoded)) > int64(len(encoded)-4) {
			return abiViolation("it has returned an error that is cut short")
		}
		size := binary.LittleEndian.Uint32(encoded)
		parts = append(parts, encoded[4:4+size])
		encoded = encoded[4+size:]
	}
	if len(parts) < 2 || len(parts)%2 != 0 {
		return abiViolation("it has returned an error of %d parts: they must be code, text, and two for each detail", len(parts))
	}
	if !validCode(parts[0]) {
		return abiViolation("it has returned an error of the code %.200q: codes are of lower-case letters, digits and underscores",
			parts[0])
	}
	var details []proto.Message
	for i := 2; i < len(parts); i += 2 {
		if !utf8.Valid(parts[i]) {
			return abiViolation("it has returned an error with a detail whose type is not valid UTF-8: %.200q", parts[i])
		}
		details = append(details, &anypb.Any{TypeUrl: string(parts[i]), Value: parts[i+1]})
	}
	var text error
	if len(parts[1]) > 0 {
		text = errors.New(string(parts[1]))
	}
	return errors.NewError(errors.ErrorCode(parts[0]), text, details...)
}

// validCode tells whether it can be the code of an error; those of package errors are no others.
func validCode(code []byte) bool {
	for _, c := range code {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return len(code) > 0 && len(code) <= maxCodeLength
}
