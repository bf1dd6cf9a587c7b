package verbs

import (
	"context"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// onEvent is called for each event, one after the other. It reports whether the event counts for
// --count.
type onEvent func(*fleet.TapEvent) (counts bool, err error)

// run starts the tap and calls started. It then passes each event to the function on. It returns
// when ctx ends, when no server sends events any more, when a limit of the flags is reached, or
// when one of the functions returns an error.
func (s *tapSource) run(ctx context.Context, patterns []string, started func() error, on onEvent) error {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			return app.Usagef("%s: the pattern is malformed", pattern)
		}
	}
	if !(s.request.Sample > 0 && s.request.Sample <= 1) {
		return app.Usagef("--sample %g: want a share above 0 and at most 1", s.request.Sample)
	}
	s.request.Methods = patterns
	s.services = tapServices{versions: map[fleet.Digest]*registry.Service{}, byServer: map[[2]string]fleet.Digest{}}
	f, err := s.app.Fleet(ctx)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	events, end, err := s.open(ctx, f, patterns)
	if err != nil {
		stop()
		return err
	}
	defer end()
	defer stop()
	if err := started(); err != nil {
		return err
	}
	return s.read(ctx, events, on)
}

// read passes each event to the function on, until no server sends events any more, a limit of the
// flags is reached, or the function returns an error.
func (s *tapSource) read(ctx context.Context, events <-chan tapResult, on onEvent) error {
	var timeout <-chan time.Time
	if s.duration > 0 {
		timer := time.NewTimer(s.duration)
		defer timer.Stop()
		timeout = timer.C
	}
	failed := 0
	for n := 0; s.count <= 0 || n < s.count; {
		select {
		case result, open := <-events:
			if !open {
				s.app.Notef("the servers have stopped")
				return nil
			}
			if result.err != nil {
				if failed++; failed >= s.watched {
					return tapError(result.err)
				}
				s.app.Warnf("%v", result.err)
				continue
			}
			s.missed += result.event.Missed
			counts, err := on(result.event)
			if err != nil {
				return err
			}
			if counts {
				n++
			}
		case <-timeout:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// tapError adds the exit code and advice to the error with which a tap has ended.
func tapError(err error) error {
	if _, ok := errors.AsType[*fleet.ObserverEffectError](err); ok {
		return app.Hint(app.Exit(app.ExitUsage, err),
			"without --passive, the servers are asked; --replica listens on a replica of Redis; --yes does it all the same")
	}
	return app.RPC(err)
}

// open starts the tap. The returned function waits until the tap has ended. The tap ends when ctx
// ends.
func (s *tapSource) open(ctx context.Context, f *fleet.Fleet, patterns []string) (<-chan tapResult, func(), error) {
	if s.isPassive() {
		return s.openPassive(ctx, f, patterns)
	}
	servers, err := s.findServers(ctx, f, patterns)
	if err != nil {
		return nil, nil, err
	}
	events := make(chan tapResult)
	var running sync.WaitGroup
	var refusal error
	for _, id := range servers {
		if s.watched == fleet.MaxTapped {
			break
		}
		stream, err := f.Tap(ctx, id, s.request)
		if err != nil {
			refusal = err
			s.app.Verbosef("%s cannot be watched: %v", id, err)
			continue
		}
		s.watched++
		running.Go(func() { forward(ctx, stream, events) })
	}
	go func() {
		running.Wait()
		close(events)
	}()
	if s.watched == 0 {
		return nil, nil, s.refused(refusal, len(servers))
	}
	return events, running.Wait, nil
}

// forward sends the events of a stream to events, until the stream or ctx ends.
func forward(ctx context.Context, stream *fleet.TapStream, events chan<- tapResult) {
	defer func() {
		// Read the remaining events, because the stream logs a warning if they are not read.
		go func() {
			for range stream.Channel() {
			}
		}()
		_ = stream.Close()
	}()
	send := func(result tapResult) bool {
		select {
		case events <- result:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for event := range stream.Channel() {
		if !send(tapResult{event: event}) {
			return
		}
	}
	if err := stream.Err(); err != nil && ctx.Err() == nil {
		send(tapResult{err: err})
	}
}

// refused returns the error to report if no server can be watched. refusal is the error of the last
// one.
func (s *tapSource) refused(refusal error, servers int) error {
	if !errors.Is(refusal, errors.ErrNoResponse) {
		return app.RPC(refusal)
	}
	return app.Hint(app.Nobodyf("%s: none can be watched", human.Plural(servers, "server")),
		"their programs must call fleet.Serve with fleet.WithTap; --passive listens on the broker instead")
}

// findServers returns the IDs of the servers that serve a method which the patterns select. It also
// reads the schemas of their services.
func (s *tapSource) findServers(ctx context.Context, f *fleet.Fleet, patterns []string) ([]string, error) {
	var ids []string
	digests := map[fleet.Digest]string{}
	for server, err := range f.Servers(ctx, s.app.Wait(), fleet.Parts(fleet.PartServices)) {
		if server == nil {
			return nil, app.RPC(err)
		}
		if len(s.servers) > 0 && !slices.Contains(s.servers, server.ID) {
			continue
		}
		serves := false
		for i := range server.Services {
			service := &server.Services[i]
			if s.request.Selects(service) {
				serves = true
				s.services.byServer[[2]string{server.ID, service.WireName}] = service.Digest
				digests[service.Digest] = service.Name
			}
		}
		if serves {
			ids = append(ids, server.ID)
		}
	}
	slices.Sort(ids)
	s.found = len(ids)
	if len(ids) == 0 {
		return nil, app.Hint(app.Nobodyf("no server that tells of itself serves %s", described(patterns)),
			"psrpc list shows what is served; --passive listens on the broker, also for servers of psrpc")
	}
	for digest, name := range digests {
		if err := s.readSchema(ctx, f, digest, name); err != nil {
			s.app.Warnf("messages of %s, digest %.8s, cannot be shown: %v", name, digest, err)
		}
	}
	return ids, nil
}

// readSchema reads the schema of one version of a service into services.versions.
func (s *tapSource) readSchema(ctx context.Context, f *fleet.Fleet, digest fleet.Digest, name string) error {
	files, err := f.Describe(ctx, digest)
	if err != nil {
		return err
	}
	version := registry.New(registry.WithLogger(s.app.Logger()))
	if err := version.RegisterDescriptorSet(files); err != nil {
		return err
	}
	service, err := version.FindService(name)
	if err != nil {
		return err
	}
	s.services.versions[digest] = service
	return nil
}

// described returns the patterns as text, for an error.
func described(patterns []string) string {
	if len(patterns) == 0 {
		return "any service"
	}
	return strings.Join(patterns, ", ")
}
