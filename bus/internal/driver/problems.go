package driver

import "github.com/dynpsrpc/dynpsrpc/errors"

// Problems collects everything that is wrong with the options or the URL of a bus, so that one
// error names all of it.
type Problems struct {
	prefix string
	errs   []error
}

// NewProblems returns an empty collection. The text of each problem begins with prefix.
func NewProblems(prefix string) *Problems { return &Problems{prefix: prefix} }

// Addf adds a problem with code invalid_argument. The parameters are those of fmt.Errorf.
func (p *Problems) Addf(format string, args ...any) {
	p.errs = append(p.errs, errors.NewErrorf(errors.InvalidArgument, p.prefix+format, args...))
}

// AddIf is like Addf, but only adds the problem if wrong is true.
func (p *Problems) AddIf(wrong bool, format string, args ...any) {
	if wrong {
		p.Addf(format, args...)
	}
}

// AddErr adds err as a problem, unless it is nil.
func (p *Problems) AddErr(err error) { p.AddIf(err != nil, "%w", err) }

// Err returns an error that joins all problems, or nil if there are none.
func (p *Problems) Err() error { return errors.Join(p.errs...) }
