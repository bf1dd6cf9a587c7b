package source

import (
	"io/fs"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Code returns the code of err. If err has no code, Code returns NotFound for a missing
// file, PermissionDenied for a missing permission, and InvalidArgument for all other errors.
func Code(err error) errors.ErrorCode {
	if coded, ok := errors.AsType[errors.Error](err); ok {
		return coded.Code()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.NotFound
	case errors.Is(err, fs.ErrPermission):
		return errors.PermissionDenied
	}
	return errors.InvalidArgument
}

// invalid returns an error with the code InvalidArgument.
func invalid(format string, args ...any) error {
	return errors.NewErrorf(errors.InvalidArgument, format, args...)
}
