package errors

// WithFacts adds facts to the error of a failed call. The result wraps err and has its code, or
// [Unknown] if it has none, and its details. The text is the text of err followed by the facts in
// parentheses. Use [FactsOf] to read the facts. The result for nil is nil. The caller must not
// modify the slices in facts afterwards.
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

// FactsOf returns the facts of a failed call, and reports whether err has any. It searches wrapped
// and joined errors and returns the outermost facts. The caller must not modify the slices.
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
