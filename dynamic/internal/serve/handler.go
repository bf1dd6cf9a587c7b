package serve

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/stream"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// Handler holds the functions that handle the requests of one method, and their limits. Types and
// conversions are determined before the handler is passed to the engine, which only passes a
// [wire.Body] from one function to the other. All functions are called concurrently.
type Handler struct {
	// The fields that calls use come first, so that they share a cache line; see [message.Type].

	// Decode converts an encoded request to the argument of Handle and Affinity.
	Decode func(raw []byte) (wire.Body, error)
	// Affinity returns the server's affinity for a request. A negative affinity declines the
	// request. If Affinity is nil, the affinity is 1.
	Affinity func(ctx context.Context, request wire.Body) float32
	// MaxConcurrent is the maximum number of requests of the method that are handled at the same
	// time. 0 means that there is no limit.
	MaxConcurrent int
	// Missing is true if the user has given no handler. All requests then fail.
	Missing bool
	// ForTopic returns the function that handles the requests on a topic. The engine calls it once
	// when it begins to serve a topic, and with an empty topic for a method without topics.
	ForTopic func(topic []string) HandleFunc
	// Stream is the handler of a stream method. It is nil for all other methods. A stream method
	// uses only this field and Missing.
	Stream *StreamHandler
}

// HandleFunc handles a request and returns the response or an error. ctx ends when the request
// expires, when the client cancels it, or when the service is killed.
type HandleFunc func(ctx context.Context, request wire.Body) (wire.Body, error)

// StreamHandler holds the functions that handle the streams of one method. The functions are called
// concurrently.
type StreamHandler struct {
	// SendType is the type of the messages that the handler sends, and RecvType the type of those
	// that it receives.
	SendType, RecvType message.Type
	// Buffer is the capacity of the handler's channel, and Window the size of the send window, both
	// in messages. If Window is at most one, there is no send window.
	Buffer, Window int
	// Affinity returns the affinity to include in the server's claim. A negative affinity declines
	// the stream. If Affinity is nil, the affinity is 1.
	Affinity func(ctx context.Context) float32
	// Open prepares a stream and returns a function that runs the user's handler. It returns an
	// error if the stream is rejected. The engine then closes the stream with that error.
	// Otherwise, it acknowledges the stream and then calls the function, unless the stream has
	// ended before.
	Open func(s *stream.Stream) (handle func() error, err error)
}
