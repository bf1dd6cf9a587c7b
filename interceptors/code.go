package interceptors

import (
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// codeOf returns the code that a peer receives for err. It returns errors.OK if err is nil.
func codeOf(err error) errors.ErrorCode {
	code, _, _ := errors.ToWire(err)
	return code
}
