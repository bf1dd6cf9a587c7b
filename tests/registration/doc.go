// Package registration tests dynpsrpc in programs that link generated code for the psrpc options. Such
// code registers the options in the global protobuf registry.
package registration
