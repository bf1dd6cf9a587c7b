package explorer

import (
	"regexp"
	"strconv"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet/tapfilter"
)

// filterError is the error of a filter, with its line and column.
type filterError struct {
	error

	line, column int
}

// Unwrap returns the error without line and column.
func (e *filterError) Unwrap() error { return e.error }

// place matches the line and column in an error of CEL.
var place = regexp.MustCompile(`<input>:(\d+):(\d+): `)

// compileFilter checks a filter. If CEL reports a position, the error contains it.
func compileFilter(filter string) error {
	if filter == "" {
		return nil
	}
	_, err := tapfilter.Compile(filter)
	if err == nil {
		return nil
	}
	placed := &filterError{error: err}
	if match := place.FindStringSubmatch(err.Error()); match != nil {
		placed.line, _ = strconv.Atoi(match[1])   // the expression matches only digits
		placed.column, _ = strconv.Atoi(match[2]) // as above
	}
	return placed
}
