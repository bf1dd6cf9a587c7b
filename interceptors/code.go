package interceptors

import (
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// codeOf returns the code that a peer sees for err. It is errors.OK for nil.
func codeOf(err error) errors.ErrorCode {
	code, _, _ := errors.ToWire(err)
	return code
}
