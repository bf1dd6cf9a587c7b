package limits

import (
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

type limitedStream struct {
	dynamic.StreamHandler

	acquired quota
}

func (s limitedStream) Close(cause error) error {
	defer s.acquired.release()
	return s.StreamHandler.Close(cause)
}
