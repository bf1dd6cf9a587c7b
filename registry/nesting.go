package registry

import (
	"fmt"
	"strings"
)

// maxLineLength is how many bytes a line of a source may have. The parser needs time quadratic in it.
const maxLineLength = 16 << 10

// maxNesting is how deep brackets of one sort may be nested in a source. Messages may be nested 32 deep,
// the values of options somewhat more. The parser needs time quadratic in the depth.
const maxNesting = 100

// checkLimits reports a source that the parser would take too long for.
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

// checkNesting reports brackets that are nested too deep. Comments and strings do not count.
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
			depth[c-2] = max(0, depth[c-2]-1) // in ASCII two places behind its opening bracket
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

// skipLength returns the length of the comment or string that source begins with, or 1 for a slash that
// begins no comment.
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

// stringLength returns the length of the quoted string that source begins with. A string ends at the
// end of its line at the latest.
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
