package tap

import (
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Kind is the kind of a [Traffic], for example a request.
type Kind uint8

const (
	// Request is a request that the server handles. It is reported before the interceptors and the
	// handler run.
	Request Kind = iota + 1
	// Response is a successful response.
	Response
	// Error is an error response.
	Error
	// Open is a stream that has been opened.
	Open
	// MessageIn is a stream message from a client.
	MessageIn
	// MessageOut is a stream message to a client.
	MessageOut
	// Close is a stream that has been closed, by either side.
	Close
	// Update is an update that the server publishes.
	Update
	// Claim is a claim of the server for a request.
	Claim
	// Decline means that the server has declined a request.
	Decline
)

// Traffic describes one thing that has passed through a server. The fields have the same meaning as
// those of dynamic.Traffic. They must not be modified, and must not be used after the function of
// the [Tap] has returned.
type Traffic struct {
	Kind     Kind
	Method   *registry.Method
	Topic    []string
	ClientID string
	// RequestID identifies the request, or the stream to which an event belongs. It is empty for
	// updates.
	RequestID []byte
	// Metadata is set for Request and Open.
	Metadata map[string]string
	// Duration is set for Response, Error and Close.
	Duration time.Duration
	// Code is set for Error, and for Close unless the stream was closed without a cause.
	Code errors.ErrorCode
	// Affinity is set for Claim and Decline.
	Affinity float32
	// Message is the message. It is nil if there is none or if Encoded contains it.
	Message proto.Message
	Encoded []byte
}

// Tap holds the function to which a server reports its traffic. The zero value and a nil *Tap hold
// none. All methods are safe for concurrent use.
type Tap struct{ function atomic.Pointer[func(Traffic)] }

// Set sets the function that is called with all traffic from now on. If function is nil, traffic is
// no longer reported. Calls that have already begun continue.
func (t *Tap) Set(function func(Traffic)) {
	if function == nil {
		t.function.Store(nil)
		return
	}
	t.function.Store(&function)
}

// Load returns the current function, or nil if there is none.
func (t *Tap) Load() func(Traffic) {
	if t == nil {
		return nil
	}
	if function := t.function.Load(); function != nil {
		return *function
	}
	return nil
}
