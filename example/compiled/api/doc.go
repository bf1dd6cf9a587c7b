// Package api contains the messages and descriptors that protoc-gen-go generates from
// my_service.proto. No stubs are generated. The psrpc options are generated into package
// psrpcoptions. Like every generated package, psrpcoptions registers its descriptors with protobuf.
package api

//go:generate protoc -I psrpcoptions --go_out=psrpcoptions --go_opt=paths=source_relative options.proto
//go:generate protoc -I . -I psrpcoptions --go_out=. --go_opt=paths=source_relative my_service.proto
