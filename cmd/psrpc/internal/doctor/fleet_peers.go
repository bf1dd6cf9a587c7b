package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

// fleetService is the name of the control service on the bus.
const fleetService = "DynpsrpcFleet"

// checkServers reports how many servers have answered, and which ones have refused to.
func checkServers(f *facts) (found []Finding) {
	services := len(versionsOf(f.servers))
	switch {
	case len(f.servers) > 0:
		found = append(found, Finding{
			Severity: OK,
			Seen:     fmt.Sprintf("%s with %s", count(len(f.servers), "server"), count(services, "service")),
		})
	case len(f.refused) == 0:
		found = append(found, Finding{
			Severity: Warning,
			Seen:     "no server answers, so that there is nothing to check but the broker",
			Do:       "only servers whose programs call fleet.Serve answer; look whether bus and prefix are right",
		})
	}
	if len(f.refused) > 0 {
		ids := slices.Sorted(maps.Keys(f.refused))
		found = append(found, Finding{
			Severity: Warning,
			Seen:     fmt.Sprintf("refused by %s: %s: %v", count(len(ids), "server"), joined(ids, len(ids)), f.refused[ids[0]]),
			Do:       "see their fleet.WithAuthorize",
			Servers:  ids,
		})
	}
	return found
}

// isSilent reports whether a server has received a discovery request and has not answered.
func isSilent(peers *fleet.Peers) bool {
	return peers.Silent > 0 ||
		slices.ContainsFunc(peers.Services, func(s *fleet.PeerService) bool { return silentOf(peers, s) > 0 })
}

// silentOf returns how many servers of a service have received a discovery request without
// answering it. Servers that refuse to answer are subtracted. They do not report their services, so
// they are subtracted from each service.
func silentOf(peers *fleet.Peers, service *fleet.PeerService) int {
	return service.Silent - len(peers.Refused)
}

// cannotTellSilent returns why the number of servers that have received a discovery request is not
// known. If it is known, it returns "".
func cannotTellSilent(f *facts) string {
	if f.peers.Silent != bus.Unknown {
		return ""
	}
	return cmp.Or(f.missing([]part{partChannels}), "the bus does not tell who has received a question")
}

// idleConnection is the idle time after which a connection may belong to a silent server. A live
// bus of dynpsrpc sends something every few seconds.
const idleConnection = 15 * time.Second

// checkSilent finds servers that receive discovery requests and do not answer. Their process hangs,
// or their connection is half-open.
func checkSilent(f *facts) (found []Finding) {
	if !isSilent(f.peers) {
		return nil
	}
	var services []string
	silent := f.peers.Silent
	for _, service := range f.peers.Services {
		if n := silentOf(f.peers, service); n > 0 {
			services = append(services, service.WireName)
			silent = max(silent, n)
		}
	}
	seen := fmt.Sprintf("%s received a question and did not answer", count(silent, "server"))
	if len(services) > 0 {
		seen += ", of " + joined(services, len(services))
	}
	var idle []string
	for _, peer := range f.connections {
		if peer.Idle > idleConnection && peer.Subscriptions > 0 {
			idle = append(idle, fmt.Sprintf("%s idle %s, %s waiting", peerName(peer), rounded(peer.Idle), size(peer.PendingBytes)))
		}
	}
	if len(idle) > 0 {
		seen += ": " + joined(idle, len(idle))
	}
	return []Finding{{
		Severity: Warning, Seen: seen,
		Do: "find the process that hangs or has lost its network, and start it again; calls to it end at their timeout",
	}}
}

// checkOrphans finds clients of services that have no servers.
func checkOrphans(f *facts) (found []Finding) {
	for _, service := range f.peers.Services {
		if len(service.Clients) == 0 || len(service.Servers) > 0 || service.Receivers > 0 || service.Dynpsrpc > 0 {
			continue
		}
		found = append(found, Finding{
			Severity: Warning,
			Seen: fmt.Sprintf("%s has %s, such as %s, and no server",
				service.WireName, count(len(service.Clients), "client"), service.Clients[0]),
			Do: "start a server, or look whether its prefix and the name of its service are those of the clients",
		})
	}
	return found
}

// topicKey identifies a topic of a method. The topic is empty if the method has no topics.
type topicKey struct{ method, topic string }

// checkTopics finds topics for which several servers are registered although the schema allows one.
func checkTopics(f *facts) (found []Finding) {
	servers := make(map[topicKey][]string)
	for m := range methodsOf(f.servers) {
		// A draining server gets no requests, so another one may take over its topics.
		if !hasSingleServer(m.method) || m.method.Unimplemented || m.server.State == fleet.StateDraining {
			continue
		}
		topics := f.topics[m.key()]
		if m.method.TopicCount == 0 && len(m.method.TopicParams) == 0 {
			// A method without topics may have only one server altogether.
			topics = []string{""}
		}
		for _, topic := range topics {
			key := topicKey{m.name(), topic}
			servers[key] = append(servers[key], m.server.ID)
		}
	}
	shared := make(map[string][]string) // the topics with several servers, by method
	for key, ids := range servers {
		if len(ids) > 1 {
			shared[key.method] = append(shared[key.method], key.topic)
		}
	}
	for _, method := range slices.Sorted(maps.Keys(shared)) {
		topics := slices.Sorted(slices.Values(shared[method]))
		on := ""
		if topics[0] != "" {
			on = fmt.Sprintf(" on %s, such as %s,", count(len(topics), "topic"), topics[0])
		}
		ids := slices.Sorted(slices.Values(servers[topicKey{method, topics[0]}]))
		found = append(found, Finding{
			Severity: Error,
			Seen: fmt.Sprintf("%s has several servers%s although its schema allows one: requests run more than once (%s)",
				method, on, joined(ids, len(ids))),
			Do:      "register the topic on one server only, or remove single_server from the schema",
			Servers: ids,
		})
	}
	return found
}
