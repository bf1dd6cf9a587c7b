package mock

import (
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/recording"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// maxRecorded is how many recorded requests a mock uses for each method. It limits the work for an
// answer, because a mock compares each new request with all recorded ones.
const maxRecorded = 10_000

// recorded answers the requests of one method with the answers in a recording.
type recorded struct {
	method *registry.Method
	calls  []recordedCall
}

type recordedCall struct {
	request  recording.Values
	response proto.Message
	err      error
}

// useRecording makes the mock answer from a recording. It leaves out calls without a response, and
// calls whose request or first response cannot be decoded.
func (m *Mock) useRecording(reg *registry.Registry, rec *recording.Recording) {
	for _, call := range rec.Calls() {
		method := recording.MethodOf(reg, &call.Request)
		if method == nil || len(call.Responses) == 0 {
			continue
		}
		r := m.recorded[method]
		if r == nil {
			r = &recorded{method: method}
		}
		request, err := recording.Decode(method, &call.Request)
		if err != nil || len(r.calls) >= maxRecorded {
			continue
		}
		c := recordedCall{request: recording.ValuesOf(request, method.Service())}
		if first := &call.Responses[0]; first.Kind == fleet.TapError {
			c.err = newError(first.Code, "recorded error")
		} else if c.response, err = recording.Decode(method, first); err != nil {
			continue
		}
		r.calls = append(r.calls, c)
		m.recorded[method] = r
	}
}

// answer returns the recorded answer to the most similar recorded request: the first one with the
// fewest differing fields.
func (r *recorded) answer(request proto.Message) (proto.Message, error) {
	values := recording.ValuesOf(request, r.method.Service())
	nearest, fewest := -1, 0
	for i := range r.calls {
		differences := r.calls[i].request.Distance(values)
		if nearest < 0 || differences < fewest {
			nearest, fewest = i, differences
		}
		if differences == 0 {
			break
		}
	}
	if nearest < 0 {
		return nil, errors.NewErrorf(errors.NotFound, "the recording has no answer of %s", r.method.FullName())
	}
	call := &r.calls[nearest]
	if call.err != nil {
		return nil, call.err
	}
	return proto.Clone(call.response), nil
}
