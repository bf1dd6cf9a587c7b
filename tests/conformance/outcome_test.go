package conformance_test

import (
	"fmt"
	"slices"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// note stores a value in the outcome of the scenario.
func (p *play) note(key string, value any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saw[key] = value
}

// add appends a value to a list in the outcome of the scenario.
func (p *play) add(key string, value any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list, _ := p.saw[key].([]any)
	p.saw[key] = append(list, value)
}

// compareOutcome compares the results of the dynpsrpc peers with the recorded results. It compares
// only values that exist in both.
func (p *play) compareOutcome() {
	want := p.scenario.Outcome
	if p.script.outcome != nil {
		want = p.script.outcome
	}
	compared := 0
	for key, got := range p.saw {
		if expected, ok := want[key]; ok {
			compared++
			// If the recorded client received one message, the recording contains that message. If
			// it received several, the recording contains their number.
			if received, ok := got.([]any); ok && key == "client_received" {
				got = len(received)
				if len(received) == 1 {
					got = received[0]
				}
			}
			assert.Equal(p, normal(expected), normal(got), "outcome: %s", key)
		}
	}
	if p.ours == client || p.script.outcome != nil {
		assert.Positive(p, compared, "nothing of the outcome was compared: %v, %v", want, p.saw)
	}
}

// errorOutcome converts an error to the form used in the recordings.
func errorOutcome(err error) any {
	if err == nil {
		return nil
	}
	if _, ok := errors.FactsOf(err); ok {
		err = errors.Unwrap(err)
	}
	coded, ok := errors.AsType[errors.Error](err)
	if !ok {
		return map[string]any{"message": err.Error(), "not_a_psrpc_error": true}
	}
	outcome := map[string]any{"code": string(coded.Code()), "message": coded.Error()}
	var details []any
	for _, detail := range coded.DetailsProto() {
		details = append(details, map[string]any{"type_url": detail.GetTypeUrl(), "value_hex": fmt.Sprintf("%x", detail.GetValue())})
	}
	if details != nil {
		outcome["details"] = details
	}
	return outcome
}

// normal converts a result to a form that can be compared. It removes times and the readable form
// of details, and sorts lists, because these may differ between runs.
func normal(value any) any {
	switch value := value.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, item := range value {
			_, rendering := value["value_hex"]
			if key != "elapsed_ms" && (key != "value" || !rendering) {
				kept[key] = normal(item)
			}
		}
		return kept
	case []any:
		kept := make([]string, len(value))
		for i := range value {
			kept[i] = fmt.Sprint(normal(value[i]))
		}
		slices.Sort(kept)
		return kept
	case nil:
		return nil
	default:
		return fmt.Sprint(value)
	}
}
