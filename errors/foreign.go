package errors

import (
	"reflect"

	"github.com/twitchtv/twirp"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// foreignError finds errors of other modules that have a code, such as psrpc's errors. It returns
// the first error in err's tree whose method Code returns a value based on string, together with
// that value. It returns nil if there is no such error.
func foreignError(err error) (error, ErrorCode) { //nolint:staticcheck // the code belongs to the error
	if err == nil {
		return nil, OK
	}
	if code := foreignCode(err); code != OK {
		return err, code
	}
	switch wrapper := err.(type) { //nolint:errorlint // the function itself walks the tree
	case interface{ Unwrap() error }:
		return foreignError(wrapper.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range wrapper.Unwrap() {
			if found, code := foreignError(inner); found != nil {
				return found, code
			}
		}
	}
	return nil, OK
}

// foreignCode returns the result of err's method Code. It returns an empty code if err has no such
// method or is a Twirp error.
func foreignCode(err error) ErrorCode {
	if _, isTwirp := err.(twirp.Error); isTwirp { //nolint:errorlint // only err itself counts
		return OK
	}
	method := reflect.ValueOf(err).MethodByName("Code")
	if !method.IsValid() || method.Type().NumIn() != 0 || method.Type().NumOut() != 1 ||
		method.Type().Out(0).Kind() != reflect.String {
		return OK
	}
	return ErrorCode(method.Call(nil)[0].String())
}

// foreignDetails returns the details of an error that foreignError has returned.
func foreignDetails(err error) []*anypb.Any {
	switch err := err.(type) { //nolint:errorlint // only err itself counts
	case interface{ DetailsProto() []*anypb.Any }:
		return err.DetailsProto()
	case interface{ GRPCStatus() *status.Status }:
		return err.GRPCStatus().Proto().GetDetails()
	default:
		return nil
	}
}
