package dynamic

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// ServerRecorder receives notifications about what a server does, for example to count calls.
// Unlike an interceptor, it can be added to a server that is already running; see [Server.Record].
// It must be safe for concurrent use, and its methods must not block.
type ServerRecorder interface {
	// MethodRecorder returns the recorder of a method. It returns nil if the method needs none. The
	// server calls it for each method of each registration, possibly more than once.
	MethodRecorder(method *registry.Method) MethodRecorder
	// RecordChange is called when a service or the state of the server has changed. The function
	// that makes the change, for example [Server.Register], waits for RecordChange.
	RecordChange(change ServerChange)
}

// MethodRecorder receives notifications about what a server does with the requests of one method.
// It must be safe for concurrent use, and its methods must not block, because calls wait for them.
type MethodRecorder interface {
	// RecordStart is called when the server begins to handle a request or stream. This may be long
	// after the request has arrived, because the client may first select a server.
	RecordStart()
	// RecordEnd is called once for each call of RecordStart. It is called before the response of a
	// single or multi call is published, and after a stream has been closed. If the response is too
	// large for the bus, the client then receives an error that is not recorded.
	RecordEnd(end CallEnd)
	// RecordClaim is called when the server has decided whether to claim a request. affinity is
	// negative if the server declines the request. RecordClaim is not called for requests that the
	// server handles without a claim.
	RecordClaim(affinity float32)
	// RecordExpired is called when the server drops a request whose deadline has passed.
	RecordExpired()
	// RecordPanic is called for each recovered panic; see [PanicHook].
	RecordPanic()
	// RecordUpdate is called for each update that [Registration.Publish] has published.
	RecordUpdate()
}

// CallEnd describes the end of a call or stream on a server.
type CallEnd struct {
	// Code and Text describe the error that is sent to the client. Both are empty if the call has
	// succeeded, or if the stream was closed without an error.
	Code errors.ErrorCode
	Text string
	// Unprocessed reports whether the server sent an error without running a handler, for example
	// because a limit was reached. It is also set if the error is marked with [Unprocessed].
	Unprocessed bool
	// Time is when the call or stream ended. Duration is the time since the request arrived or, if
	// the client selects one of several servers, since it selected this one. For a stream, Duration
	// is how long the stream was open.
	Time     time.Time
	Duration time.Duration
	// RequestBytes and ResponseBytes are the sizes of the frames without compression. They are 0
	// for streams.
	RequestBytes, ResponseBytes int
}

// ServerChangeKind is the kind of a [ServerChange].
type ServerChangeKind uint8

const (
	// ServiceAdded means that the server serves another service.
	ServiceAdded ServerChangeKind = iota + 1
	// ServiceReplaced means that another version of a service is being served; see
	// [Registration.Replace].
	ServiceReplaced
	// ServiceRemoved means that a service is no longer served, because its registration has been
	// closed or killed.
	ServiceRemoved
	// ServerDraining means that the server accepts no requests because of [Server.Drain]. It may
	// still be handling requests.
	ServerDraining
	// ServerResumed means that the server accepts requests again; see [Server.Resume].
	ServerResumed
	// ServerClosing means that [Server.Shutdown] has been called. The server may still be handling
	// requests.
	ServerClosing
	// ServerStopped means that the server has been stopped by Shutdown or Kill.
	ServerStopped
)

// ServerChange describes a change of a server or of one of its services.
type ServerChange struct {
	Kind ServerChangeKind
	// Service is the service that has changed. After ServiceReplaced, it is the new version. It is
	// nil if the whole server has changed.
	Service *registry.Service
}
