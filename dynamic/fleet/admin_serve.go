package fleet

import (
	"context"
	"log/slog"

	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// adminHandlers returns the handlers of the service DynpsrpcAdmin.
func (s *Status) adminHandlers() dynamic.Handlers {
	return dynamic.Handlers{
		"Drain":        adminHandler(s, VerbDrain, s.drain),
		"Resume":       adminHandler(s, VerbResume, s.resume),
		"SetLogLevel":  adminHandler(s, VerbSetLogLevel, s.setLogLevel),
		"ReloadPlugin": adminHandler(s, VerbReloadPlugin, s.reloadPlugin),
	}
}

// adminHandler returns the handler for one verb. The handler checks that the client may use the
// verb, calls handle, and logs the request.
func adminHandler[Request, Response any](
	s *Status, verb Verb, handle func(ctx context.Context, request *Request) (*Response, error),
) dynamic.Handler {
	return dynamic.Unary(func(ctx context.Context, message *dynamicpb.Message) (*dynamicpb.Message, error) {
		if err := s.authorize(ctx, verb); err != nil {
			return nil, err
		}
		response, err := handle(ctx, fromMessage[Request](message))
		client, _ := dynamic.RequestInfoFromContext(ctx)
		s.server.Logger().Warn("dynpsrpc: a permitted client has asked for a change of this server",
			slog.String("server", s.server.ID()), slog.String("client", client.ClientID), slog.String("verb", string(verb)),
			slog.String("request", shorten(message.String())), slog.Any("error", err))
		if err != nil {
			return nil, err
		}
		return toMessage(response), nil
	})
}

func (s *Status) drain(ctx context.Context, _ *drainRequest) (*drainResponse, error) {
	// With a canceled context, Drain does not wait for handlers. It still waits until the bus
	// delivers no more requests. The client can see from the counters when the last handler has
	// returned.
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.server.Drain(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	state, _ := s.state()
	return &drainResponse{State: state}, nil
}

func (s *Status) resume(context.Context, *resumeRequest) (*resumeResponse, error) {
	if err := s.server.Resume(); err != nil {
		return nil, err
	}
	state, _ := s.state()
	return &resumeResponse{State: state}, nil
}

func (s *Status) setLogLevel(_ context.Context, request *setLogLevelRequest) (*setLogLevelResponse, error) {
	if s.options.admin.level == nil {
		return nil, errors.NewErrorf(errors.Unimplemented,
			"the program of server %s does not let clients set its log level: it would need fleet.WithAdmin(fleet.LogLevel(level))", s.server.ID())
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(request.Level)); err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "log level %.100q: want debug, info, warn or error, for example info+2", request.Level)
	}
	previous := s.options.admin.level.Level()
	s.options.admin.level.Set(level)
	return &setLogLevelResponse{Previous: previous.String()}, nil
}

func (s *Status) reloadPlugin(ctx context.Context, request *reloadPluginRequest) (*reloadPluginResponse, error) {
	if s.options.admin.reload == nil {
		return nil, errors.NewErrorf(errors.Unimplemented,
			"the program of server %s does not let clients reload plugins: it would need fleet.WithAdmin(fleet.ReloadPlugin(reload))", s.server.ID())
	}
	plugin, err := s.options.admin.reload(ctx, request.Name)
	if err != nil {
		return nil, err
	}
	return &reloadPluginResponse{Plugin: s.toldPlugin(plugin)}, nil
}
