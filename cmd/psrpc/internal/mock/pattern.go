package mock

import (
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// matching returns a random text that matches a regular expression. Assertions such as \b are
// ignored, so the text may violate them. If the expression is malformed, matching returns a word.
func (g *generator) matching(pattern string) string {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return g.word()
	}
	var text strings.Builder
	g.match(&text, parsed.Simplify())
	return text.String()
}

// match appends a text that matches the given part of a regular expression.
func (g *generator) match(text *strings.Builder, part *syntax.Regexp) {
	if text.Len() > maxText {
		return
	}
	switch part.Op {
	case syntax.OpLiteral:
		text.WriteString(string(part.Rune))
	case syntax.OpCharClass:
		text.WriteRune(g.oneOf(part.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		text.WriteString(g.letters(1))
	case syntax.OpStar:
		g.repeat(text, part.Sub[0], g.random.IntN(4))
	case syntax.OpPlus:
		g.repeat(text, part.Sub[0], 1+g.random.IntN(4))
	case syntax.OpQuest:
		g.repeat(text, part.Sub[0], g.random.IntN(2))
	case syntax.OpAlternate:
		g.match(text, part.Sub[g.random.IntN(len(part.Sub))])
	default:
		// This is a concatenation or a group. Assertions such as ^ and $ also come here, but have
		// no parts.
		for _, sub := range part.Sub {
			g.match(text, sub)
		}
	}
}

func (g *generator) repeat(text *strings.Builder, part *syntax.Regexp, times int) {
	for range times {
		g.match(text, part)
	}
}

// oneOf returns a character of a character class. ranges contains pairs of the first and the last
// character of a range. Printable ASCII characters are preferred.
func (g *generator) oneOf(ranges []rune) rune {
	var printable []rune
	for i := 0; i+1 < len(ranges); i += 2 {
		for r := max(ranges[i], ' '); r <= min(ranges[i+1], '~'); r++ {
			printable = append(printable, r)
		}
	}
	switch {
	case len(printable) > 0:
		return printable[g.random.IntN(len(printable))]
	case len(ranges) > 0:
		return ranges[0]
	default:
		return utf8.RuneError
	}
}
