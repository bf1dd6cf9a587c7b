package wire

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

// Bytes that are not ASCII must be found at each position, both within the full words of eight
// bytes and after the last one.
func TestValidText_EqualsUTF8Valid(t *testing.T) {
	t.Parallel()
	for _, inserted := range []string{"", "\x00", "\x7f", "\x80", "\xff", "é", "\xc3", "€", "\xed\xa0\x80"} {
		for length := range 20 {
			for at := range length + 1 {
				text := bytes.Repeat([]byte("a"), length)
				text = append(text[:at:at], append([]byte(inserted), text[at:]...)...)
				assert.Equal(t, utf8.Valid(text), validText(text), "%q", text)
			}
		}
	}
}
