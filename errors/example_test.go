package errors_test

import (
	"fmt"
	"time"

	"github.com/twitchtv/twirp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// A handler returns an error with a code. The caller reads the code, the text and the details.
func ExampleNewError() {
	returned := errors.NewError(errors.NotFound, errors.New("no such room"), wrapperspb.String("room-7"))

	code, text, details := errors.ToWire(returned) // the server does this before it sends the error
	// The client does this when it receives the error.
	var err error = errors.FromWire(code, text, details)

	if e, ok := errors.AsType[errors.Error](err); ok {
		fmt.Println(e.Code(), e.ToHttp(), e)
		for _, detail := range e.Details() {
			fmt.Println(detail.(*wrapperspb.StringValue).GetValue())
		}
	}
	// Output:
	// not_found 404 no such room
	// room-7
}

// A Twirp server can return any error of this package, because it looks for a twirp.Error with As.
func ExampleError_twirp() {
	err := errors.NewErrorf(errors.ResourceExhausted, "%d rooms are enough", 100)

	var twirpError twirp.Error
	if errors.As(err, &twirpError) {
		fmt.Println(twirpError.Code(), "-", twirpError.Msg())
	}
	// Output: resource_exhausted - 100 rooms are enough
}

// An error with facts still matches the predefined error that it wraps.
func ExampleWithFacts() {
	err := errors.WithFacts(errors.ErrNoResponse, errors.CallFacts{
		Method:      "my.pkg.MyService/NormalRPC",
		Phase:       errors.PhasePublish,
		Reason:      errors.ReasonNobodyListening,
		PublishTime: 12 * time.Microsecond,
	})
	fmt.Println(err)
	fmt.Println(errors.Is(err, errors.ErrNoResponse))
	if facts, ok := errors.FactsOf(err); ok {
		fmt.Println(facts.Reason)
	}
	// Output:
	// no response from servers (my.pkg.MyService/NormalRPC: nobody listening; publish 12µs)
	// true
	// nobody listening
}
