//go:build !amd64 && !arm64

package fastdecode

import "google.golang.org/protobuf/reflect/protoreflect"

// compile returns nil because hyperpb does not support this architecture.
func compile(protoreflect.MessageDescriptor) decoder { return nil }
