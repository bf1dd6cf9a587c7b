// Package psrpcoptions contains the file options.proto, which declares the psrpc method options.
// Pass the directory of the package to protoc, as docs/compiled.md describes, so that your .proto
// files can import "options.proto".
//
// The package contains no Go code on purpose. Generated code of your files imports it because of
// the go_package option in options.proto. If it registered the options with protobuf, a program
// could not also link the package for the options that livekit/psrpc contains: protobuf allows only
// one registration of options.proto. Package registry does not need it, because it reads the
// options from their encoded form.
//
// Code that reads the options itself, with proto.GetExtension, needs a generated package for them.
// With the flag --go_opt=Moptions.proto=<import path>, generated code imports that package instead
// of this one.
package psrpcoptions
