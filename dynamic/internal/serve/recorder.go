package serve

import (
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Recorder receives notifications about what an engine does; see dynamic.ServerRecorder. It must be
// safe for concurrent use, and its methods must not block.
type Recorder interface {
	// MethodRecorder returns the recorder of a method, or nil if the method needs none. The engine
	// calls it for each method of each service, possibly more than once.
	MethodRecorder(method *registry.Method) MethodRecorder
	// RecordChange is called when a service or the state of the engine has changed. service is nil
	// if the whole engine has changed. After ServiceReplaced, it is the new version.
	RecordChange(kind ChangeKind, service *registry.Service)
}

// MethodRecorder receives notifications about what an engine does with the requests of one method;
// see dynamic.MethodRecorder. It must be safe for concurrent use, and its methods must not block.
type MethodRecorder interface {
	// RecordStart is called when the engine begins to handle a request or stream.
	RecordStart()
	// RecordEnd is called once for each call of RecordStart. For a call, it is called before the
	// response is published. For an open stream, it is called after the stream has been closed.
	RecordEnd(end CallEnd)
	// RecordClaim is called when the engine has decided whether it offers to handle a request. A
	// negative affinity means that it does not.
	RecordClaim(affinity float32)
	// RecordExpired is called when the engine drops a request whose deadline has passed.
	RecordExpired()
	// RecordPanic is called for each recovered panic.
	RecordPanic()
	// RecordUpdate is called for each update that was published.
	RecordUpdate()
}

// CallEnd describes the end of a call or stream. Its fields are those of dynamic.CallEnd, so that
// one type can be converted to the other.
type CallEnd struct {
	Code                        errors.ErrorCode
	Text                        string
	Unprocessed                 bool
	Time                        time.Time
	Duration                    time.Duration
	RequestBytes, ResponseBytes int
}

// ChangeKind is the kind of a change of an engine or of one of its services.
type ChangeKind uint8

const (
	// ServiceAdded means that the engine serves another service.
	ServiceAdded ChangeKind = iota + 1
	// ServiceReplaced means that another version of a service is being served.
	ServiceReplaced
	// ServiceRemoved means that a service is no longer served.
	ServiceRemoved
	// ServerDraining means that the engine is drained. It may still be handling requests.
	ServerDraining
	// ServerResumed means that the engine accepts requests again after it was drained.
	ServerResumed
	// ServerClosing means that Shutdown has been called. The engine may still be handling requests.
	ServerClosing
	// ServerStopped means that the engine has been stopped by Shutdown or Kill.
	ServerStopped
)

// recorderSlot holds the recorder of one method of one service. Without a recorder, the
// pointer is nil, so a call only has to read the pointer.
type recorderSlot struct {
	atomic.Pointer[MethodRecorder]
}

// set stores the recorder that ofServer returns for a method. If ofServer is nil, set removes the
// current recorder.
func (s *recorderSlot) set(ofServer *Recorder, method *registry.Method) {
	if ofServer == nil {
		s.Store(nil)
		return
	}
	if recorder := (*ofServer).MethodRecorder(method); recorder != nil {
		s.Store(&recorder)
	}
}
