package verbs

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet/tapfilter"
)

// openPassive starts a tap on the broker. The returned function waits until the tap has ended. The
// tap ends when ctx ends.
func (s *tapSource) openPassive(ctx context.Context, f *fleet.Fleet, patterns []string) (<-chan tapResult, func(), error) {
	request, err := s.passiveRequest(ctx, patterns)
	if err != nil {
		return nil, nil, err
	}
	events := make(chan tapResult)
	var running sync.WaitGroup
	running.Go(func() {
		defer close(events)
		for event, err := range f.TapPassive(ctx, request) {
			select {
			case events <- tapResult{event, err}:
			case <-ctx.Done():
				return
			}
		}
	})
	return events, running.Wait, nil
}

// passiveRequest returns the request for a passive tap. Each pattern must begin with the name of a
// service, because the names of the channels depend on the service's schema.
func (s *tapSource) passiveRequest(ctx context.Context, patterns []string) (request fleet.PassiveTap, err error) {
	if len(patterns) == 0 {
		return request, app.Usagef("--passive needs the names of methods or services: their schemas tell what to listen to")
	}
	settings, err := s.app.Settings()
	if err != nil {
		return request, err
	}
	request = fleet.PassiveTap{
		TapRequest: s.request, Topics: map[string][][]string{}, Anyway: s.app.Flags.Yes,
		Options: []fleet.TapOption{fleet.Redact(settings.Redact...), fleet.Filters(tapfilter.Compile)},
	}
	for _, pattern := range patterns {
		name, _, _ := strings.Cut(pattern, "/")
		service, err := s.app.Service(ctx, name)
		if err != nil {
			return request, err
		}
		digest, err := fleet.DigestOf(service.Descriptor())
		if err != nil {
			return request, err
		}
		if !slices.Contains(request.Services, service) {
			request.Services = append(request.Services, service)
		}
		s.services.versions[digest] = service
		s.services.byServer[[2]string{"", service.WireName()}] = digest
		for _, method := range service.Methods() {
			if len(s.topic) > 0 && method.TopicParts() == len(s.topic) {
				request.Topics[method.FullName()] = [][]string{s.topic}
			}
		}
	}
	if s.replica == "" {
		return request, nil
	}
	replica, err := bus.Open(ctx, s.replica, bus.WithLogger(s.app.Logger()))
	if err != nil {
		return request, app.Exit(app.ExitUnreachable, err)
	}
	s.app.OnClose(replica.Close)
	request.Replica = replica
	return request, nil
}
