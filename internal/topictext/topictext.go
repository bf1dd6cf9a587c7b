package topictext

import (
	"strconv"
	"strings"
)

// Join returns the parts of a topic, separated by dots, as valid UTF-8. A part that is empty or
// contains a dot, a quote or an invalid byte is quoted as in Go, so that different topics have
// different texts.
func Join(parts []string) string {
	var b strings.Builder
	for i, part := range parts {
		if i > 0 {
			b.WriteByte('.')
		}
		if part == "" || strings.ContainsAny(part, `."`) || strings.ToValidUTF8(part, "") != part {
			part = strconv.Quote(part)
		}
		b.WriteString(part)
	}
	return b.String()
}
