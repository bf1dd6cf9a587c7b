package dynamic

import (
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/serve"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Record notifies recorder of what the server does from now on, until stop is called. This applies
// to all services, including those that are already registered. A request that the server is
// already handling is not recorded. A server has at most one recorder, so Record returns an error
// with code already_exists if there is another one. The end of a call or stream that began before
// stop was called is still recorded.
func (s *Server) Record(recorder ServerRecorder) (stop func(), err error) {
	if recorder == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "dynamic.Server.Record: the recorder is nil")
	}
	return s.engine.Record(engineRecorder{recorder})
}

// engineRecorder adapts a ServerRecorder to serve.Recorder.
type engineRecorder struct{ ServerRecorder }

// MethodRecorder implements serve.Recorder.
func (r engineRecorder) MethodRecorder(method *registry.Method) serve.MethodRecorder {
	recorder := r.ServerRecorder.MethodRecorder(method)
	if recorder == nil {
		return nil
	}
	return engineMethodRecorder{recorder}
}

// serverChanges maps the change kinds of package serve to those of this package.
var serverChanges = [...]ServerChangeKind{
	serve.ServiceAdded: ServiceAdded, serve.ServiceReplaced: ServiceReplaced, serve.ServiceRemoved: ServiceRemoved,
	serve.ServerDraining: ServerDraining, serve.ServerResumed: ServerResumed, serve.ServerClosing: ServerClosing,
	serve.ServerStopped: ServerStopped,
}

// RecordChange implements serve.Recorder.
func (r engineRecorder) RecordChange(kind serve.ChangeKind, service *registry.Service) {
	r.ServerRecorder.RecordChange(ServerChange{Kind: serverChanges[kind], Service: service})
}

// engineMethodRecorder adapts a MethodRecorder to serve.MethodRecorder.
type engineMethodRecorder struct{ MethodRecorder }

// RecordEnd implements serve.MethodRecorder.
func (r engineMethodRecorder) RecordEnd(end serve.CallEnd) { r.MethodRecorder.RecordEnd(CallEnd(end)) }
