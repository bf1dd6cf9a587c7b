package fleet

import (
	"context"
	"log/slog"

	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Drain makes a server stop accepting requests; see [dynamic.Server.Drain]. It returns once the bus
// delivers no more requests to the server. It does not wait for the requests that the server is
// handling; ask for their number with [Fleet.Servers] and [PartStats]. Draining a drained server
// changes nothing.
//
// Drain, [Fleet.Resume], [Fleet.SetLogLevel] and [Fleet.ReloadPlugin] work only on servers whose
// programs use [WithAdmin]. For other servers, they return errors.ErrNoResponse. If the function
// passed to [WithAuthorize] does not permit the change, they return that function's error.
func (f *Fleet) Drain(ctx context.Context, serverID string) (State, error) {
	response, err := administer[drainRequest, drainResponse](ctx, f, serverID, "Drain", &drainRequest{})
	if err != nil {
		return 0, err
	}
	return response.State, nil
}

// Resume makes a drained server accept requests again; see [dynamic.Server.Resume]. The errors are
// those of [Fleet.Drain].
func (f *Fleet) Resume(ctx context.Context, serverID string) (State, error) {
	response, err := administer[resumeRequest, resumeResponse](ctx, f, serverID, "Resume", &resumeRequest{})
	if err != nil {
		return 0, err
	}
	return response.State, nil
}

// SetLogLevel sets the minimum level of the messages that a server logs, and returns the previous
// one. The server's program must have passed its level to [LogLevel]; otherwise, the error has code
// unimplemented. The other errors are those of [Fleet.Drain].
func (f *Fleet) SetLogLevel(ctx context.Context, serverID string, level slog.Level) (previous slog.Level, err error) {
	response, err := administer[setLogLevelRequest, setLogLevelResponse](
		ctx, f, serverID, "SetLogLevel", &setLogLevelRequest{Level: level.String()})
	if err != nil {
		return 0, err
	}
	if err := previous.UnmarshalText([]byte(response.Previous)); err != nil {
		return 0, errors.NewErrorf(errors.MalformedResponse, "server %s: previous log level: %w", serverID, err)
	}
	return previous, nil
}

// ReloadPlugin makes a server load a plugin again from the place where it found the plugin. The
// result describes the plugin after it has been loaded. The server's program must have passed a
// function to [ReloadPlugin]; otherwise, the error has code unimplemented. The other errors are
// those of [Fleet.Drain].
func (f *Fleet) ReloadPlugin(ctx context.Context, serverID, name string) (*Plugin, error) {
	response, err := administer[reloadPluginRequest, reloadPluginResponse](
		ctx, f, serverID, "ReloadPlugin", &reloadPluginRequest{Name: name})
	if err != nil {
		return nil, err
	}
	return &response.Plugin, nil
}

// administer calls a method of the service DynpsrpcAdmin on one server.
func administer[Request, Response any](
	ctx context.Context, f *Fleet, serverID, method string, request *Request,
) (*Response, error) {
	c, err := newClient(f.conn, adminService(), method)
	if err != nil {
		return nil, err
	}
	var response *dynamicpb.Message
	response, err = c.Call(ctx, toMessage(request), dynamic.WithTopic(serverID))
	if err != nil {
		return nil, err
	}
	return fromMessage[Response](response), nil
}
