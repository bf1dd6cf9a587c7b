package registry

import (
	"cmp"
	"slices"

	"github.com/jhump/protoreflect/desc/protoparse" //nolint:staticcheck // deprecated, but used deliberately.

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// problemList collects the errors found in .proto sources.
type problemList []*SchemaError

// report implements protoparse.ErrorReporter. It adds err to the list. If the list is then full,
// report returns an error, which stops the parser. Otherwise it returns nil.
func (l *problemList) report(err protoparse.ErrorWithPos) error {
	at := err.GetPosition()
	*l = append(*l, &SchemaError{File: at.Filename, Line: at.Line, Column: at.Col, Err: err.Unwrap()})
	if len(*l) >= maxProblems {
		return errors.New("too many errors: the rest is omitted")
	}
	return nil
}

// join returns all problems as one error, sorted by position. err is the error returned by the
// parser. It is included as well, unless it only says that the parser has reported problems.
func (l *problemList) join(err error) error {
	slices.SortStableFunc(*l, comparePositions)
	all := make([]error, 0, len(*l)+1)
	for _, problem := range *l {
		all = append(all, problem)
	}
	if err != nil && !errors.Is(err, protoparse.ErrInvalidSource) {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// add appends a problem that was found by this package rather than reported by the parser.
func (l *problemList) add(problem *SchemaError) { *l = append(*l, problem) }

// maxProblems is the maximum number of mistakes reported in one error.
const maxProblems = 100

// comparePositions compares the positions of two errors.
func comparePositions(a, b *SchemaError) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}
