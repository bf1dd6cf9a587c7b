//go:build !amd64 && !arm64

package fastdecode

import "google.golang.org/protobuf/reflect/protoreflect"

// compile has no hyperpb here.
func compile(protoreflect.MessageDescriptor) decoder { return nil }
