// Package api contains the messages and descriptors that protoc-gen-go generates from
// my_service.proto. No stubs are generated.
package api

//go:generate protoc -I . -I ../../../registry/psrpcoptions --go_out=. --go_opt=paths=source_relative my_service.proto
