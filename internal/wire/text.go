package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// validText reports whether all texts are valid UTF-8.
func validText(texts ...[]byte) bool {
	for _, text := range texts {
		if !isASCII(text) && !utf8.Valid(text) {
			return false
		}
	}
	return true
}

// isASCII reports whether text consists of ASCII characters, as nearly all IDs and type names do.
// For an ID of 16 bytes, isASCII takes a quarter of the time of [utf8.Valid]. A call checks about
// ten such texts, which makes a difference of 2 % for calls in one process.
func isASCII(text []byte) bool {
	const highBits = 0x8080808080808080
	for ; len(text) >= 8; text = text[8:] {
		if binary.LittleEndian.Uint64(text)&highBits != 0 {
			return false
		}
	}
	var union byte
	for _, b := range text {
		union |= b
	}
	return union < utf8.RuneSelf
}
