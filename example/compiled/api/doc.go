// Package api is what a program has that compiles its protos the usual way: messages and descriptors
// made by protoc-gen-go, and no generated stubs. The psrpc options have a Go package of their own,
// psrpcoptions, which registers them with protobuf as every generated package does.
package api

//go:generate protoc -I psrpcoptions --go_out=psrpcoptions --go_opt=paths=source_relative options.proto
//go:generate protoc -I . -I psrpcoptions --go_out=. --go_opt=paths=source_relative my_service.proto
