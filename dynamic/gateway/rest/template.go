package rest

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// template is a parsed path template of google.api.http, such as
// "/v1/{name=shelves/*/books/*}:archive".
type template struct {
	segments  []segment
	variables []variable
	// verb is the text after the colon. It is empty if there is no colon.
	verb string
}

// segment is one segment of a path template.
type segment struct {
	kind segmentKind
	// text is the text of a literal segment, without percent-encoding.
	text string
}

type segmentKind uint8

const (
	kindLiteral  segmentKind = iota
	kindWildcard             // "*" stands for one segment
	kindRest                 // "**" stands for any number of segments, and is the last segment
)

// variable is a variable of a path template. It covers the segments from start up to, but not
// including, end.
type variable struct {
	name       string
	start, end int
	// multiple reports whether the value may have several segments.
	multiple bool
}

// parseTemplate parses a path template. Its grammar is:
//
//	Template = "/" Segments [ ":" LITERAL ]
//	Segments = Segment { "/" Segment }
//	Segment  = "*" | "**" | LITERAL | "{" FieldPath [ "=" Segments ] "}"
func parseTemplate(text string) (*template, error) {
	p := parser{rest: text, template: &template{}}
	if err := p.parse(); err != nil {
		return nil, fmt.Errorf("template %q, column %d: %w", text, len(text)-len(p.rest)+1, err)
	}
	return p.template, nil
}

// parser is a recursive descent parser of path templates.
type parser struct {
	// rest is the part of the template that has not been parsed yet.
	rest     string
	template *template
}

func (p *parser) parse() error {
	if !p.take("/") {
		return errors.New("want a slash")
	}
	if err := p.parseSegments(false); err != nil {
		return err
	}
	if p.take(":") {
		verb, err := p.parseLiteral()
		if err != nil {
			return err
		}
		p.template.verb = verb
	}
	if p.rest != "" {
		return errors.New("want the end")
	}
	return nil
}

// take removes text from the beginning of the rest. It returns false if the rest does not begin
// with text.
func (p *parser) take(text string) bool {
	after, found := strings.CutPrefix(p.rest, text)
	p.rest = after
	return found
}

func (p *parser) parseSegments(inVariable bool) error {
	for {
		if err := p.parseSegment(inVariable); err != nil {
			return err
		}
		if !strings.HasPrefix(p.rest, "/") {
			return nil
		}
		if segments := p.template.segments; segments[len(segments)-1].kind == kindRest {
			return errors.New("** must be the last segment")
		}
		p.take("/")
	}
}

func (p *parser) parseSegment(inVariable bool) error {
	switch {
	case p.take("**"):
		p.add(segment{kind: kindRest})
	case p.take("*"):
		p.add(segment{kind: kindWildcard})
	case !inVariable && p.take("{"):
		return p.parseVariable()
	default:
		text, err := p.parseLiteral()
		if err != nil {
			return err
		}
		p.add(segment{text: text})
	}
	return nil
}

func (p *parser) add(s segment) { p.template.segments = append(p.template.segments, s) }

func (p *parser) parseVariable() error {
	end := strings.IndexAny(p.rest, "=}")
	if end < 1 {
		return errors.New("want a variable")
	}
	v := variable{name: p.rest[:end], start: len(p.template.segments)}
	for _, other := range p.template.variables {
		if other.name == v.name {
			return fmt.Errorf("variable %s occurs twice", v.name)
		}
	}
	p.rest = p.rest[end:]
	if p.take("=") {
		if err := p.parseSegments(true); err != nil {
			return err
		}
	} else {
		p.add(segment{kind: kindWildcard})
	}
	if !p.take("}") {
		return errors.New("want a closing brace")
	}
	v.end = len(p.template.segments)
	v.multiple = v.end-v.start > 1 || p.template.segments[v.start].kind == kindRest
	p.template.variables = append(p.template.variables, v)
	return nil
}

// parseLiteral parses the text of a segment or verb and decodes it.
func (p *parser) parseLiteral() (string, error) {
	end := strings.IndexAny(p.rest, "/{}*:?#")
	if end < 0 {
		end = len(p.rest)
	}
	text, err := url.PathUnescape(p.rest[:end])
	if err != nil {
		return "", err
	}
	if text == "" {
		return "", errors.New("want a segment")
	}
	p.rest = p.rest[end:]
	return text, nil
}

// value returns the value of a variable. path contains the percent-encoded segments of a path that
// matches the template.
func (t *template) value(v variable, path []string) (string, error) {
	end := v.end
	if t.segments[end-1].kind == kindRest {
		end = len(path)
	}
	if !v.multiple {
		return url.PathUnescape(path[v.start])
	}
	parts := make([]string, 0, end-v.start)
	for _, part := range path[v.start:end] {
		// An encoded slash stays encoded, because it does not separate segments.
		part, err := url.PathUnescape(encodedSlash.Replace(part))
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "/"), nil
}

// encodedSlash escapes the percent sign of each encoded slash, so that url.PathUnescape leaves the
// slash encoded.
var encodedSlash = strings.NewReplacer("%2F", "%252F", "%2f", "%252f")

// openAPI returns the template in OpenAPI's syntax, which has no patterns for variables:
// "{name=shelves/*}" becomes "{name}".
func (t *template) openAPI() string {
	var path strings.Builder
	variables := t.variables
	for i := 0; i < len(t.segments); i++ {
		path.WriteByte('/')
		switch s := t.segments[i]; {
		case len(variables) > 0 && variables[0].start == i:
			path.WriteString("{" + variables[0].name + "}")
			i = variables[0].end - 1
			variables = variables[1:]
		case s.kind == kindLiteral:
			path.WriteString(url.PathEscape(s.text))
		default:
			path.WriteString("*")
		}
	}
	if t.verb != "" {
		path.WriteString(":" + url.PathEscape(t.verb))
	}
	return path.String()
}
