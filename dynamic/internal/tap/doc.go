// Package tap defines how a server reports what passes through it: requests, responses, stream
// messages, updates and claims. A [Tap] holds the function to which the server reports. Package
// dynamic sets that function in Server.SetTap. This package neither changes nor records traffic.
//
// Code that has something to report calls [Tap.Load] first, and builds a [Traffic] only if the
// result is not nil. While no function is set, traffic therefore costs one atomic load. The
// function is called by the goroutine that handles the traffic, so calls are concurrent, and
// requests wait for them. The order of the calls is only defined within one request or stream.
//
// The package exists because calls, streams and updates are handled by different packages, which
// all report to the same function and cannot import package dynamic.
package tap
