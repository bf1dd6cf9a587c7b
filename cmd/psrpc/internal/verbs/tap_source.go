package verbs

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// tapSource is the source of events of the verbs tap and record: servers that copy their messages
// or, with --passive, the broker.
type tapSource struct {
	app     *app.App
	request fleet.TapRequest
	// servers contains the IDs of the servers to watch. If it is empty, all are watched.
	servers []string
	// passive makes the source listen on the broker of the bus. replica, if not empty, is the URL
	// of another broker on which it listens instead.
	passive bool
	replica string
	// topic is a further topic to watch with passive, in case the broker does not list it.
	topic    []string
	duration time.Duration
	count    int

	services tapServices
	// watched is the number of servers that send events. found is the number of servers that serve
	// one of the methods.
	watched, found int
	// missed is the number of events that were left out.
	missed uint64
}

// addFlags adds the flags that choose the source and its events.
func (s *tapSource) addFlags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&s.request.Filter, "filter", "",
		`events to show, as an expression (CEL) about method, kind, code, duration, topic, client_id, metadata and message`)
	flags.Float64Var(&s.request.Sample, "sample", 1, "share of the calls to watch, above 0 and at most 1")
	flags.StringSliceVar(&s.servers, "server", nil, "IDs of the servers to watch (default: all that serve the methods)")
	flags.BoolVar(&s.passive, "passive", false, "listen on the broker instead of asking the servers")
	flags.StringVar(&s.replica, "replica", "", "URL of a replica of the Redis server, on which --passive changes nothing")
	flags.StringSliceVarP(&s.topic, "topic", "t", nil, "topic to listen to with --passive; others are found on the bus")
	flags.DurationVar(&s.duration, "for", 0, "end after this time")
	flags.IntVar(&s.count, "count", 0, "end after this number of events")
	flags.BoolVar(&s.app.Flags.Yes, "yes", false, "listen with --passive although calls then take longer")
}

// isPassive reports whether the source listens on a broker, instead of asking servers for copies of
// their messages.
func (s *tapSource) isPassive() bool { return s.passive || s.replica != "" }

// where names the broker on which the source listens.
func (s *tapSource) where() string {
	if s.replica != "" {
		return "the replica"
	}
	return busName(s.app)
}

// tapServices contains the schemas of the services whose events arrive.
type tapServices struct {
	// versions contains the services by digest.
	versions map[fleet.Digest]*registry.Service
	// byServer contains the digest of each service of each server. The key consists of the ID of
	// the server and the name of the service on the bus. With --passive, the ID is empty.
	byServer map[[2]string]fleet.Digest
}

// method returns the method of an event, or nil if its schema is not known.
func (s *tapServices) method(event *fleet.TapEvent) *registry.Method {
	service, _, _ := strings.Cut(event.Method, "/")
	digest, known := s.byServer[[2]string{event.ServerID, service}]
	if !known {
		digest = s.byServer[[2]string{"", service}]
	}
	version := s.versions[digest]
	if version == nil {
		return nil
	}
	for _, m := range version.Methods() {
		if service+"/"+m.WireName() == event.Method {
			return m
		}
	}
	return nil
}

// tapResult is an event, or the error with which the tap of one server or of the broker has ended.
type tapResult struct {
	event *fleet.TapEvent
	err   error
}
