package verbs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/summary"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// list is one run of the verb list.
type list struct {
	app *app.App
	query

	scan, psrpc bool
}

func newList(a *app.App) *cobra.Command {
	l := &list{app: a}
	cmd := &cobra.Command{
		Use:     "list [SERVICE]",
		Aliases: []string{"ls"},
		Short:   "List the services on a bus, or the servers of one",
		Long: `list shows the services of the servers that answer for themselves, with all servers of a service
together, or the servers of one service. Calls, errors and times are since the start of each server:
psrpc top shows those of the last second.

Servers of psrpc cannot answer. The broker tells how many of them there are in the services that are
known. With --scan, the broker is asked for all channels, and services of psrpc alone are shown, too.
That takes the broker some time if it has very many channels.`,
		Example: `  psrpc list
  psrpc list Greeter -o wide
  psrpc list --scan -o json`,
		Args:              arguments(0, 1),
		ValidArgsFunction: completeServices(a, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return l.services(cmd.Context())
			}
			return l.servers(cmd.Context(), args[0])
		},
	}
	l.addFilter(cmd)
	cmd.Flags().BoolVar(&l.scan, "scan", false, "ask the broker for all channels, to find services of psrpc")
	cmd.Flags().BoolVar(&l.psrpc, "psrpc", false, "only services that psrpc servers serve; of a service, name psrpc's servers")
	return cmd
}

// services lists the services of the bus.
func (l *list) services(ctx context.Context) error {
	start := time.Now()
	peers, err := l.peers(ctx, nil, fleet.Parts(fleet.PartStats))
	if err != nil {
		return err
	}
	services := l.join(peers)
	if len(services) == 0 {
		return l.nothing(ctx, peers)
	}
	info := l.info(ctx)
	took := time.Since(start)
	r, rows := listReport(services)
	clients := clientsOf(peers)
	document := listDocument{Services: rows, Servers: len(peers.Servers), Silent: max(peers.Silent, 0), Took: int64(took)}
	document.Bus = busRow{info.Kind, info.Version, int64(info.RoundTrip)}
	if l.scan && peers.ScanErr == nil {
		document.Clients = &clients
	}
	r.document = document
	r.notes = listNotes(services, &document)
	return r.show(l.app)
}

// peers asks the servers which services they have, and the broker which channels have receivers. It
// warns the user about servers that refuse to answer.
func (l *list) peers(ctx context.Context, options []fleet.PeersOption, opts ...fleet.QueryOption) (*fleet.Peers, error) {
	chain, err := l.app.Schema()
	if err != nil {
		return nil, err
	}
	if err := chain.LoadFiles(); err != nil {
		return nil, err
	}
	f, err := l.app.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	options = append(options,
		fleet.PeersQuery(append(opts, fleet.Wait(l.waitTime(l.app)))...),
		fleet.Schemas(l.app.Registry()))
	if l.scan || l.psrpc {
		l.scan = true
		options = append(options, fleet.Scan())
	}
	peers, err := f.Peers(ctx, options...)
	if err != nil {
		return nil, app.RPC(err)
	}
	for _, id := range slices.Sorted(maps.Keys(peers.Refused)) {
		l.app.Warnf("server %s refuses to answer: %v", id, peers.Refused[id])
	}
	if peers.ScanErr != nil {
		l.app.Warnf("the broker does not tell its channels: %v", peers.ScanErr)
	}
	return peers, nil
}

// join returns the services that the flags select. It combines what the servers report with what
// the broker knows.
func (l *list) join(peers *fleet.Peers) []summary.Service {
	servers := slices.DeleteFunc(slices.Clone(peers.Servers), func(s *fleet.Server) bool { return !l.selects(s) })
	services := summary.Services(servers)
	services = summary.WithPeers(services, peers, len(l.labels) == 0)
	return slices.DeleteFunc(services, func(s summary.Service) bool { return l.psrpc && s.Psrpc == 0 })
}

// nothing returns the error to report if there is no service to list.
func (l *list) nothing(ctx context.Context, peers *fleet.Peers) error {
	switch {
	case len(peers.Servers) > 0 && len(l.labels) > 0:
		return app.Nobodyf("none of %s has the label %s", human.Plural(len(peers.Servers), "server"), labelText(l.labels))
	case l.psrpc:
		return app.Nobodyf("no service of psrpc is seen on the bus")
	case len(peers.Servers) > 0:
		return app.Nobodyf("%s answered, and none of them serves anything", human.Plural(len(peers.Servers), "server"))
	case l.scan && peers.ScanErr == nil:
		return app.Hint(app.Nobodyf("nobody listens on the bus"), "is the prefix right, and the bus?"+l.otherPrefixes(ctx))
	case l.scan:
		return app.Hint(noServer(l.app), "servers answer if their program calls fleet.Serve, on the same bus and with the same prefix")
	default:
		return app.Hint(noServer(l.app), hintServe)
	}
}

// otherPrefixes returns a sentence about the other prefixes that are used on the broker, with a
// space before it. It returns "" if there are none, or if the broker does not list them.
func (l *list) otherPrefixes(ctx context.Context) string {
	b, err := l.app.Bus(ctx)
	if err != nil {
		return ""
	}
	inspector, ok := b.(bus.Inspector)
	if !ok {
		return ""
	}
	prefixes, err := inspector.Prefixes(ctx)
	if informed, ok := b.(bus.Informed); ok {
		own := informed.Settings().Prefix
		prefixes = slices.DeleteFunc(prefixes, func(prefix string) bool { return prefix == own })
	}
	if err != nil || len(prefixes) == 0 {
		return ""
	}
	const shown = 5
	texts := make([]string, 0, shown)
	for _, prefix := range prefixes[:min(len(prefixes), shown)] {
		if prefix == "" {
			texts = append(texts, "no prefix")
		} else {
			texts = append(texts, "the prefix "+prefix)
		}
	}
	return " Others use this broker with " + strings.Join(texts, ", ")
}

// info returns facts about the broker, or an empty bus.Info if they cannot be read.
func (l *list) info(ctx context.Context) bus.Info {
	b, err := l.app.Bus(ctx)
	if err != nil {
		return bus.Info{}
	}
	informed, ok := b.(bus.Informed)
	if !ok {
		return bus.Info{}
	}
	info, err := informed.Info(ctx)
	if err != nil {
		return bus.Info{}
	}
	return info
}

// clientsOf returns the number of clients that were seen on the broker.
func clientsOf(peers *fleet.Peers) int {
	clients := make(map[string]bool)
	for _, service := range peers.Services {
		for _, id := range service.Clients {
			clients[id] = true
		}
	}
	return len(clients)
}

// listNotes returns the lines to print below the list of services.
func listNotes(services []summary.Service, document *listDocument) []string {
	var unknown []string
	check := false
	for i := range services {
		check = check || suspicious(&services[i])
		if len(services[i].Servers) == 0 {
			unknown = append(unknown, services[i].Name)
		}
	}
	var notes []string
	if len(unknown) > 0 {
		notes = append(notes, "seen on the broker only: "+strings.Join(unknown, ", ")+". Give the .proto with -p for more")
	}
	facts := []string{human.Plural(document.Servers, "server")}
	if document.Silent > 0 {
		facts = append(facts, strconv.Itoa(document.Silent)+" silent")
		check = true
	}
	if document.Clients != nil {
		facts = append(facts, human.Plural(*document.Clients, "client"))
	}
	if document.Bus.Kind != "" {
		facts = append(facts, strings.TrimSpace(document.Bus.Kind+" "+document.Bus.Version))
	}
	facts = append(facts, human.Duration(time.Duration(document.Took)))
	line := strings.Join(facts, ", ")
	if check {
		line += "  ! psrpc doctor"
	}
	return append(notes, line)
}

// servers lists the servers of a service.
func (l *list) servers(ctx context.Context, name string) error {
	var options []fleet.PeersOption
	if l.psrpc {
		method, err := l.claimed(ctx, name)
		if err != nil {
			return err
		}
		options = append(options, fleet.Candidates(method, nil))
	}
	peers, err := l.peers(ctx, options, fleet.Parts(fleet.PartStats, fleet.PartHealth))
	if err != nil {
		return err
	}
	servers, full, err := serversOf(peers.Servers, name)
	if err != nil {
		return l.unanswered(ctx, peers, name, err)
	}
	servers = slices.DeleteFunc(servers, func(s *fleet.Server) bool { return !l.selects(s) })
	if len(servers) == 0 {
		return app.Nobodyf("no server of %s has the label %s", full, labelText(l.labels))
	}
	r := serversReport(servers, full)
	if peer := peerService(peers, full, ""); peer != nil {
		addOthers(r, peer)
	}
	return r.show(l.app)
}

// addOthers adds to a report the servers of a service that have not answered. It adds a line for
// each server whose ID is known, and notes about the others.
func addOthers(r *report, peer *fleet.PeerService) {
	rows, _ := r.document.([]serverRow)
	for _, id := range peer.Others {
		cells := slices.Repeat([]string{human.None}, len(r.headers))
		cells[0] = id
		r.rows = append(r.rows, cells)
		rows = append(rows, serverRow{Server: id})
	}
	r.document = rows
	mute := peer.Dynpsrpc - len(peer.Servers) - max(peer.Silent, 0)
	switch {
	case len(peer.Others) > 0:
		r.notes = append(r.notes, human.Plural(len(peer.Others), "server")+" can claim requests, but cannot say more")
	case peer.Psrpc > 0:
		r.notes = append(r.notes, human.Plural(peer.Psrpc, "psrpc server")+" cannot answer: --psrpc names those that claim requests")
	}
	if mute > 0 && len(peer.Others) == 0 {
		r.notes = append(r.notes, human.Plural(mute, "server")+" cannot answer: the program does not call fleet.Serve")
	}
	if peer.Silent > 0 {
		r.notes = append(r.notes, human.Plural(peer.Silent, "server")+" kept silent: frozen or cut off. psrpc doctor says more")
	}
}

// claimed returns the full name of a method of the service whose servers claim requests. The method
// makes single calls and has no topics. Servers without package fleet can be found by asking which
// of them would claim such a request.
func (l *list) claimed(ctx context.Context, name string) (string, error) {
	service, err := l.app.Service(ctx, name)
	if err != nil {
		return "", err
	}
	found := ""
	for _, method := range service.Methods() {
		suits := canBeAsked(method) && method.Kind() == registry.KindSingle && !method.Topics()
		// Prefer affinity routing, because the bus gives a request of a queue to one server only.
		if suits && (found == "" || method.Routing() == registry.RoutingAffinity) {
			found = method.FullName()
		}
	}
	if found == "" {
		return "", app.Usagef("--psrpc: %s has no method whose servers claim requests and which has no topics", service.Name())
	}
	return found, nil
}

// unanswered shows what the broker knows about a service for which no server has answered. If the
// broker knows nothing, unanswered returns an error.
func (l *list) unanswered(ctx context.Context, peers *fleet.Peers, name string, err error) error {
	peer := peerService(peers, name, name)
	switch {
	case peer == nil && len(peers.Servers) == 0:
		return l.nothing(ctx, peers)
	case peer == nil || app.CodeOf(err) != app.ExitNobody:
		return err
	case len(peer.Others) > 0:
		r := serversReport(nil, "")
		addOthers(r, peer)
		return r.show(l.app)
	case peer.Psrpc > 0:
		return app.Hint(app.Nobodyf("%s has %s, which cannot answer", name, human.Plural(peer.Psrpc, "psrpc server")),
			"--psrpc names those that claim requests")
	case peer.Receivers > 0:
		return app.Nobodyf("%s has %s, and none of them answers", name, human.Plural(peer.Receivers, "server"))
	default:
		return err
	}
}

// peerService returns what the broker knows about a service, which is found by its full name or by
// its name on the bus. It returns nil if the broker knows nothing.
func peerService(peers *fleet.Peers, full, wireName string) *fleet.PeerService {
	for _, service := range peers.Services {
		if slices.Contains(service.Names, full) || service.WireName == wireName {
			return service
		}
	}
	return nil
}

type listDocument struct {
	Services []serviceRow `json:"services"`
	// Servers is the number of servers that have answered.
	Servers int `json:"servers"`
	// Silent is the number of servers that the broker knows and that have not answered.
	Silent  int    `json:"silent"`
	Clients *int   `json:"clients,omitempty"`
	Bus     busRow `json:"bus"`
	Took    int64  `json:"took_ns"`
}

type busRow struct {
	Kind    string `json:"kind,omitempty"`
	Version string `json:"version,omitempty"`
	RTT     int64  `json:"rtt_ns,omitempty"`
}

type serviceRow struct {
	Name     string `json:"name"`
	WireName string `json:"wire_name"`
	Methods  int    `json:"methods,omitempty"`
	// Servers is the number of servers that have answered. Psrpc, Mute and Silent count the others,
	// as in summary.Service.
	Servers   int          `json:"servers"`
	Draining  int          `json:"draining"`
	Psrpc     int          `json:"psrpc"`
	Mute      int          `json:"mute"`
	Silent    int          `json:"silent"`
	Topics    int          `json:"topics"`
	Versions  []versionRow `json:"versions"`
	Calls     uint64       `json:"calls"`
	PerSecond float64      `json:"per_second"`
	OK        uint64       `json:"ok"`
	Failed    uint64       `json:"failed"`
	P99       int64        `json:"p99_ns"`
}

type versionRow struct {
	Digest  string `json:"digest"`
	Servers int    `json:"servers"`
}

// listReport returns a report with one line for each service, and the same as rows for JSON.
func listReport(services []summary.Service) (r *report, rows []serviceRow) {
	r = &report{
		headers: []string{"SERVICE", "METHODS", "SERVERS", "TOPICS", "DIGEST", titleRate, titleErrors, titleP99,
			"CALLS", titleActive, titleP50, "WIRE NAME"},
		wide: 8,
	}
	rows = make([]serviceRow, len(services))
	for i := range services {
		s := &services[i]
		row := serviceRow{
			Name: s.Name, WireName: s.WireName, Methods: s.Methods, Servers: len(s.Servers), Draining: s.Draining(), Psrpc: s.Psrpc,
			Mute: s.Mute, Silent: s.Silent, Topics: s.Topics, Versions: []versionRow{}, Calls: s.Calls, PerSecond: s.PerSecond,
			OK: s.OK, Failed: s.Failed, P99: int64(s.Duration.Quantile(0.99)),
		}
		for _, version := range s.Versions {
			row.Versions = append(row.Versions, versionRow{version.Digest.String(), version.Servers})
		}
		rows[i] = row
		cells := []string{
			s.Name, positive(s.Methods, "?"), serversText(s), positive(s.Topics, human.None), digestText(s),
			human.Rate(s.PerSecond), errorsOf(&s.Load), quantile(&s.Load, 0.99),
			human.Count(s.Calls), human.Count(s.Active), quantile(&s.Load, 0.5), s.WireName,
		}
		if len(s.Servers) == 0 { // only the broker knows the service
			for _, unknown := range []int{5, 6, 7, 8, 9, 10} {
				cells[unknown] = human.None
			}
		}
		r.rows = append(r.rows, cells)
	}
	return r, rows
}

// positive formats n. If n is not positive, it returns the parameter otherwise instead.
func positive(n int, otherwise string) string {
	if n <= 0 {
		return otherwise
	}
	return human.Count(n)
}

// serversText returns the number of servers of a service, and how many of them need attention.
// Examples are "3", "2 + 1" for two versions, "3 (1 draining)", "4 psrpc" and "3 (1 without fleet,
// 1 silent)".
func serversText(s *summary.Service) string {
	var ours []string
	for _, version := range s.Versions {
		ours = append(ours, human.Count(version.Servers))
	}
	var others []string
	if draining := s.Draining(); draining > 0 {
		others = append(others, human.Count(draining)+" draining")
	}
	if s.Psrpc > 0 {
		others = append(others, human.Count(s.Psrpc)+" psrpc")
	}
	if s.Mute > 0 {
		others = append(others, human.Count(s.Mute)+" without fleet")
	}
	if s.Silent > 0 {
		others = append(others, human.Count(s.Silent)+" silent")
	}
	switch text := strings.Join(others, ", "); {
	case len(ours) == 0:
		return cmp.Or(text, "0")
	case text == "":
		return strings.Join(ours, " + ")
	default:
		return strings.Join(ours, " + ") + " (" + text + ")"
	}
}

// digestText returns the digest of the only version of a service, or the number of its versions.
func digestText(s *summary.Service) string {
	switch len(s.Versions) {
	case 0:
		return human.None
	case 1:
		return shortDigest(s.Versions[0].Digest)
	default:
		return fmt.Sprintf("%d versions", len(s.Versions))
	}
}

// suspicious reports whether the command psrpc doctor would report a problem with a service.
func suspicious(s *summary.Service) bool {
	return len(s.Versions) > 1 || s.Silent > 0 || s.FailedRatio() > maxFailedRatio
}
