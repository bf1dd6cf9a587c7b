package explorer

import (
	"net/http"
	"regexp"
	"strconv"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet/tapfilter"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxFilter is the maximum length of a filter in bytes.
const maxFilter = 4 << 10

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

func (e *Explorer) checkFilter(w http.ResponseWriter, r *http.Request) error {
	var request struct {
		Filter string `json:"filter"`
	}
	if err := readJSON(w, r, &request); err != nil {
		return err
	}
	if len(request.Filter) > maxFilter {
		return errors.NewErrorf(errors.InvalidArgument, "the filter has more than %d bytes", maxFilter)
	}
	if err := compileFilter(request.Filter); err != nil {
		return err
	}
	return writeJSON(w, r, struct{}{})
}
