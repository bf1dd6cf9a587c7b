// Package psrpcoptions contains the file options.proto, which declares the psrpc method options. To
// import "options.proto" in your .proto files, pass the directory of this package to protoc, as
// docs/compiled.md describes.
//
// The package deliberately contains no Go code. The go_package option in options.proto makes the
// generated code of your files import it. livekit/psrpc contains a Go package that registers
// options.proto with protobuf. Protobuf allows only one registration of a file, so a program could
// not link both packages if this one also registered it. Package registry needs no registration,
// because it reads the options from their encoded form.
//
// If your own code reads the options with proto.GetExtension, it needs a Go package generated from
// options.proto. With the flag --go_opt=Moptions.proto=<import path>, the generated code of your
// files imports that package instead of this one.
package psrpcoptions
