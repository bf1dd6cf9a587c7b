package natsmicro

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"maps"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// noVersion is reported for an app that has no semantic version, because NATS micro requires one.
const noVersion = "0.0.0"

// notInToken matches the characters that must not be in a name of NATS micro.
var notInToken = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// semanticVersion matches a semantic version.
var semanticVersion = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// token makes a name valid in NATS micro.
func token(name string) string { return notInToken.ReplaceAllString(name, "_") }

// responses returns the answers to a question: one for each service, or only the one for the
// service with this name. An empty name stands for all services.
func responses(status *fleet.Status, verb, name string) (all []any) {
	parts := []fleet.Part{fleet.PartServices}
	switch verb {
	case micro.InfoVerb.String():
		parts = append(parts, fleet.PartBus)
	case micro.StatsVerb.String():
		parts = append(parts, fleet.PartBus, fleet.PartStats)
	}
	server := status.Server(context.Background(), parts...)
	for i := range server.Services {
		service := &server.Services[i]
		if name != "" && token(service.WireName) != name {
			continue
		}
		switch verb {
		case micro.PingVerb.String():
			all = append(all, &micro.Ping{ServiceIdentity: identity(server, service), Type: micro.PingResponseType})
		case micro.InfoVerb.String():
			all = append(all, info(server, service))
		case micro.StatsVerb.String():
			all = append(all, stats(server, service))
		}
	}
	return all
}

// identity returns the fields that all answers about a service have in common. The metadata is
// never nil, because the tools do not accept null.
func identity(server *fleet.Server, service *fleet.Service) micro.ServiceIdentity {
	metadata := map[string]string{}
	maps.Copy(metadata, server.Labels)
	for key, value := range map[string]string{
		"app": server.App, "app_version": server.AppVersion, "software": server.Software,
		"service": service.Name, "digest": hex.EncodeToString(service.Digest[:]),
	} {
		if value != "" {
			metadata[key] = value
		}
	}
	version := strings.TrimPrefix(server.AppVersion, "v")
	if !semanticVersion.MatchString(version) {
		version = noVersion
	}
	return micro.ServiceIdentity{Name: token(service.WireName), ID: token(server.ID), Version: version, Metadata: metadata}
}

func info(server *fleet.Server, service *fleet.Service) *micro.Info {
	info := &micro.Info{
		ServiceIdentity: identity(server, service), Type: micro.InfoResponseType, Description: service.Name,
		Endpoints: []micro.EndpointInfo{},
	}
	for i := range service.Methods {
		method := &service.Methods[i]
		subject, queue := address(server, service, method)
		info.Endpoints = append(info.Endpoints, micro.EndpointInfo{
			Name: token(method.Name), Subject: subject, QueueGroup: queue,
			Metadata: map[string]string{"kind": method.Kind.String(), "routing": method.Routing.String()},
		})
	}
	return info
}

func stats(server *fleet.Server, service *fleet.Service) *micro.Stats {
	stats := &micro.Stats{
		ServiceIdentity: identity(server, service), Type: micro.StatsResponseType, Started: server.Started.UTC(),
		Endpoints: []*micro.EndpointStats{},
	}
	for i := range service.Methods {
		method := &service.Methods[i]
		subject, queue := address(server, service, method)
		endpoint := &micro.EndpointStats{Name: token(method.Name), Subject: subject, QueueGroup: queue}
		if method.Stats != nil {
			count(endpoint, method.Stats)
		}
		stats.Endpoints = append(stats.Endpoints, endpoint)
	}
	return stats
}

// count copies the counters of a method to the statistics of an endpoint.
func count(endpoint *micro.EndpointStats, stats *fleet.Stats) {
	endpoint.NumRequests = int(stats.CallsStarted) //nolint:gosec // a server does not handle that many calls
	details := details{
		P50: stats.Duration.Quantile(0.5), P90: stats.Duration.Quantile(0.9), P99: stats.Duration.Quantile(0.99),
		Active: stats.Active, Declined: stats.Declined, Expired: stats.Expired, Errors: map[string]uint64{},
	}
	for code, errs := range stats.Errors {
		endpoint.NumErrors += int(errs) //nolint:gosec // as above
		details.Errors[string(code)] = errs
	}
	if last := stats.LastError; last != nil {
		endpoint.LastError = string(last.Code)
		if last.Text != "" {
			endpoint.LastError += ": " + last.Text
		}
	}
	endpoint.AverageProcessingTime = stats.Duration.Mean()
	endpoint.ProcessingTime = stats.Duration.Sum
	if encoded, err := json.Marshal(details); err == nil {
		endpoint.Data = encoded
	}
}

// details is the content of the field data in the statistics of an endpoint. Durations are in
// nanoseconds, as in the other fields.
type details struct {
	P50      time.Duration     `json:"p50"`
	P90      time.Duration     `json:"p90"`
	P99      time.Duration     `json:"p99"`
	Active   uint64            `json:"active"`
	Declined uint64            `json:"declined"`
	Expired  uint64            `json:"expired"`
	Errors   map[string]uint64 `json:"errors"`
}

// address returns the NATS subject on which the servers of a method receive requests without a
// topic, and their queue group. If the server is not on NATS, these are the ones that it would have
// there.
func address(server *fleet.Server, service *fleet.Service, method *fleet.Method) (subject, queue string) {
	isQueue := method.Routing == registry.RoutingQueue
	channel := wire.RequestChannel(service.WireName, method.WireName, nil, isQueue && method.Kind != registry.KindStream)
	if method.Kind == registry.KindStream {
		channel = wire.StreamServerChannel(service.WireName, method.WireName, nil)
	}
	subject = channel.Subject
	if server.Bus != nil {
		subject = server.Bus.Prefix + subject
		for _, mode := range server.Bus.Modes {
			if mode == "subject_per_method" {
				subject += "." + channel.Key
			}
		}
	}
	if isQueue && method.Kind != registry.KindStream {
		queue = queueGroup
	}
	return subject, queue
}

// queueGroup is the queue group of all servers of a method on NATS.
const queueGroup = "bus"
