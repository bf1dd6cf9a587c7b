// Package guestproto adds generated messages to package guest: handlers that take and return
// messages of protoc-gen-go, and error details that are messages.
//
//	func init() {
//		guestproto.Handle("greeting.Greeter/Hello", func(ctx context.Context, request *pb.HelloRequest) (*pb.HelloResponse, error) {
//			...
//		})
//	}
//
// A plugin that uses this package links protobuf, which makes it 6.5 MB large instead of 2.8 MB. It
// also decodes each request and encodes each response in the sandbox, which takes most of the time
// of a call.
package guestproto
