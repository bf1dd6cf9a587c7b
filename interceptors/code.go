package interceptors

import (
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// codeOf returns the code with which an error goes over the bus; that of nil is errors.OK.
func codeOf(err error) errors.ErrorCode {
	code, _, _ := errors.ToWire(err)
	return code
}
