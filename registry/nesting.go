package registry

import (
	"fmt"
	"strings"
)

// maxLineLength is the maximum length of a source line in bytes. The limit exists because parsing
// time grows quadratically with the length of a line.
const maxLineLength = 16 << 10

// maxNesting is the maximum nesting depth of each type of bracket. The limit exists because parsing
// time grows quadratically with the depth. Valid sources stay far below it: messages may be nested
// at most 32 levels deep, and option values only somewhat deeper.
const maxNesting = 100

// checkLimits returns an error for a source that would take too long to parse.
func checkLimits(source string) error {
	line := 0
	for text := range strings.Lines(source) {
		line++
		if len(text) > maxLineLength {
			return fmt.Errorf("line %d: longer than %d KiB", line, maxLineLength>>10)
		}
	}
	return checkNesting(source)
}

// checkNesting returns an error if brackets are nested too deeply. It ignores brackets in comments
// and strings.
func checkNesting(source string) error {
	var depth [256]int
	line := 1
	for i := 0; i < len(source); i++ {
		switch c := source[i]; c {
		case '\n':
			line++
		case '{', '[', '<':
			depth[c]++
			if depth[c] > maxNesting {
				return fmt.Errorf("line %d: more than %d nested %c brackets", line, maxNesting, c)
			}
		case '}', ']':
			// The ASCII code of each of these closing brackets is the code of the opening bracket
			// plus 2.
			depth[c-2] = max(0, depth[c-2]-1)
		case '>':
			depth['<'] = max(0, depth['<']-1)
		case '"', '\'', '/':
			end := i + skipLength(source[i:])
			line += strings.Count(source[i:end], "\n")
			i = end - 1
		}
	}
	return nil
}

// skipLength returns the length of the comment or string at the start of source. It returns 1 for a
// slash that does not start a comment.
func skipLength(source string) int {
	switch {
	case strings.HasPrefix(source, "//"):
		return indexAfter(source, 2, "\n")
	case strings.HasPrefix(source, "/*"):
		return indexAfter(source, 2, "*/")
	case source[0] == '/':
		return 1
	default:
		return stringLength(source)
	}
}

// stringLength returns the length of the quoted string at the start of source. An unterminated
// string ends at the end of its line.
func stringLength(source string) int {
	quote := source[0]
	for i := 1; i < len(source); i++ {
		switch source[i] {
		case '\\':
			i++
		case quote, '\n':
			return i + 1
		}
	}
	return len(source)
}

func indexAfter(source string, from int, mark string) int {
	at := strings.Index(source[from:], mark)
	if at < 0 {
		return len(source)
	}
	return from + at + len(mark)
}
