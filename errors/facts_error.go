package errors

// WithFacts adds diagnostic facts to the error of a failed call. The result wraps err and has the
// same details and the same code, or [Unknown] if err has no code. The text is the text of err,
// followed by the facts in parentheses. Use [FactsOf] to retrieve the facts. If err is nil,
// WithFacts returns nil. The caller must not modify the slices in facts afterwards.
func WithFacts(err error, facts CallFacts) Error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if known := facts.String(); known != "" {
		text += " (" + known + ")"
	}
	return &factsError{codedError: withText(err, text), facts: facts}
}

// FactsOf returns the diagnostic facts of a failed call and reports whether err contains any. It
// searches err's tree, including joined errors, and returns the outermost facts. The caller must
// not modify the slices in the result.
func FactsOf(err error) (CallFacts, bool) {
	e, ok := AsType[*factsError](err)
	if !ok {
		return CallFacts{}, false
	}
	return e.facts, true
}

type factsError struct {
	*codedError

	facts CallFacts
}
