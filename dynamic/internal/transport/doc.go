// Package transport contains what the client side and the server side of package dynamic share in
// their use of a bus: decoding frames, limiting the size of frames, keeping a subscription, and
// describing errors. It knows no calls, streams or handlers.
package transport
