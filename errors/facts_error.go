package errors

// WithFacts returns err with what is known of the call that failed. Its text is that of err followed by the
// facts in parentheses. It has err's code, or [Unknown] if err has none, and its details, and wraps err. Read
// the facts with [FactsOf]. nil gives nil. The facts must not be changed afterwards.
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

// FactsOf returns the facts of a failed call, and whether err has any. It looks into wrapped and joined
// errors; of several facts it returns the outermost. The caller must not change the slices.
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
