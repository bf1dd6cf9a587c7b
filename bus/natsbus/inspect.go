package natsbus

import (
	"cmp"
	"context"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/internal/driver"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
	"github.com/dynpsrpc/dynpsrpc/internal/timer"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

var _ bus.Inspector = (*Bus)(nil)

const (
	// maxProbes is the maximum number of subjects for which Count publishes probes at the same
	// time.
	maxProbes = 512
	// maxSubjectQuestions is the maximum number of subjects about which Count asks the servers
	// separately. To answer such a question, a server goes through all its subscriptions. For more
	// subjects, Count fetches all subscriptions once.
	maxSubjectQuestions = 16
	// accountTimeout limits how long the bus waits for the name of its account.
	accountTimeout = time.Second
)

// errNoMonitor is the error of methods that need a monitor.
var errNoMonitor = errors.NewErrorf(errors.Unimplemented, "nats bus: clients of NATS do not learn which subjects are subscribed: "+
	"to ask the servers, set the parameter monitor (WithMonitor) to their monitoring URL, such as http://host:8222, "+
	"or to the URL of a user of the system account, such as nats://user:password@host:4222")

// Count returns the number of subscriptions to the subject of each channel. With [WithMonitor], it
// asks the servers. The result is then exact, but does not include subscriptions to subjects with
// wildcards.
//
// Otherwise, Count publishes a frame on each subject, which all peers drop. The result is 0 if the
// server reports that the frame had no receivers, and 1 if it does not. In a cluster, the report
// can be wrong for a moment after a process has subscribed. The result is [bus.Unknown] if the
// server does not support headers or denies the publication.
func (b *Bus) Count(ctx context.Context, channels ...bus.Channel) ([]int, error) {
	if err := b.checkInspection(ctx); err != nil {
		return nil, err
	}
	bySubject := map[string]int{}
	for _, channel := range channels {
		subject, _ := b.subjects.of(channel)
		if err := b.publisher.validate(channel, subject, len(probe)); err != nil {
			return nil, err
		}
		bySubject[subject] = 0
	}
	var err error
	switch {
	case b.monitor == nil:
		err = b.probe(ctx, bySubject)
	case len(bySubject) > maxSubjectQuestions:
		err = b.eachSubscription(ctx, func(_ *connInfo, s subscriptionInfo) {
			if _, wanted := bySubject[s.Subject]; wanted {
				bySubject[s.Subject]++
			}
		})
	default:
		err = b.countWithMonitor(ctx, bySubject)
	}
	if err != nil {
		return nil, err
	}
	counts := make([]int, len(channels))
	for i, channel := range channels {
		subject, _ := b.subjects.of(channel)
		counts[i] = bySubject[subject]
	}
	return counts, nil
}

// checkInspection returns an error if ctx is nil or has ended, or if the bus is not connected.
func (b *Bus) checkInspection(ctx context.Context) error {
	if err := nilarg.ContextErr(ctx); err != nil {
		return err
	}
	return b.conn.check()
}

// probe finds out which of the subjects have subscribers. For each subject, it stores 0, 1 or
// [bus.Unknown] in the map.
func (b *Bus) probe(ctx context.Context, subjects map[string]int) error {
	for part := range slices.Chunk(slices.Collect(maps.Keys(subjects)), maxProbes) {
		reports := map[string]*probeReport{}
		for _, subject := range part {
			reports[subject] = &probeReport{}
			if !b.publisher.noResponders.enabled() {
				reports[subject].failed.Store(true)
				continue
			}
			token := b.publisher.reports.Add(subject, reports[subject])
			if err := b.conn.get().PublishRequest(subject, b.publisher.noResponders.replySubject(token), probe); err != nil {
				b.publisher.reports.Cancel(token)
				return b.publisher.publishError(err, bus.Channel{Name: subject}, len(probe))
			}
		}
		// The server sends its reports before it answers the PING.
		if err := b.conn.waitFlushed(ctx); err != nil {
			return err
		}
		for subject, report := range reports {
			subjects[subject] = report.receivers()
		}
	}
	return nil
}

// probeReport is the bus.DeliveryReport of a probe.
type probeReport struct{ none, failed atomic.Bool }

// Delivered implements bus.DeliveryReport.
func (r *probeReport) Delivered(receivers int, err error) {
	r.failed.Store(err != nil)
	r.none.Store(receivers == 0)
}

// receivers returns 0 if the probe has no receiver, 1 if it has at least one, and [bus.Unknown] if
// the outcome is unknown.
func (r *probeReport) receivers() int {
	switch {
	case r.failed.Load():
		return bus.Unknown
	case r.none.Load():
		return 0
	default:
		return 1
	}
}

// countWithMonitor counts the subscriptions to each subject.
func (b *Bus) countWithMonitor(ctx context.Context, subjects map[string]int) error {
	account := b.account(ctx)
	return b.monitor.each(ctx, func(node monitorNode) error {
		for subject := range subjects {
			q := question{Subscriptions: true, Test: subject, Account: account}
			err := pages(ctx, node, "SUBSZ", q, func(page *subscriptionsPage) int {
				for _, s := range page.Subscriptions {
					if s.Subject == subject {
						subjects[subject]++
					}
				}
				return len(page.Subscriptions)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// eachSubscription calls visit for each subscription of each connection of the bus's account.
func (b *Bus) eachSubscription(ctx context.Context, visit func(conn *connInfo, s subscriptionInfo)) error {
	return b.eachConn(ctx, true, func(_ string, conn *connInfo) {
		for _, s := range conn.Subscriptions {
			visit(conn, s)
		}
	})
}

// globalAccount is the account of all connections to a server without configured accounts. Such a
// server does not name it in its answers.
const globalAccount = "$G"

// eachConn calls visit for each connection of the bus's account. node is the name of the server to
// which conn is connected. If detail is true, conn contains its subscriptions.
func (b *Bus) eachConn(ctx context.Context, detail bool, visit func(node string, conn *connInfo)) error {
	if b.monitor == nil {
		return errNoMonitor
	}
	account := b.account(ctx)
	return b.monitor.each(ctx, func(node monitorNode) error {
		q := question{Auth: true, SubscriptionsDetail: detail}
		return pages(ctx, node, "CONNZ", q, func(page *connsPage) int {
			for i := range page.Conns {
				if conn := &page.Conns[i]; account == "" || cmp.Or(conn.Account, globalAccount) == account {
					visit(page.nodeName(), conn)
				}
			}
			return len(page.Conns)
		})
	})
}

// account returns the name of the account to which the bus belongs. It is empty if the server does
// not report it. The bus then inspects the connections of all accounts.
func (b *Bus) account(ctx context.Context) string {
	ctx, cancel := timer.WithTimeout(ctx, accountTimeout)
	defer cancel()
	m, err := b.conn.get().RequestWithContext(ctx, "$SYS.REQ.USER.INFO", nil)
	if err != nil {
		return ""
	}
	var answer struct {
		Data struct {
			Account string `json:"account"`
		} `json:"data"`
	}
	if json.Unmarshal(m.Data, &answer) != nil {
		return ""
	}
	return answer.Data.Account
}

// Scan visits all subjects of psrpc and dynpsrpc processes with the prefix of the bus. Without
// [WithMonitor], it fails with code unimplemented. Each presence contains the connections that
// subscribe to the subject. All methods of a service share a subject, so Presence.Method is empty
// unless [WithSubjectPerMethod] is used. The private subjects of queues show which methods dynpsrpc
// processes serve.
func (b *Bus) Scan(ctx context.Context) iter.Seq2[bus.Presence, error] {
	return func(yield func(bus.Presence, error) bool) {
		presences, err := b.scan(ctx)
		if err != nil {
			yield(bus.Presence{}, err)
			return
		}
		for _, presence := range presences {
			if presence.Service != "" && !yield(*presence, nil) {
				return
			}
		}
	}
}

func (b *Bus) scan(ctx context.Context) (map[subKey]*bus.Presence, error) {
	if err := b.checkInspection(ctx); err != nil {
		return nil, err
	}
	presences := map[subKey]*bus.Presence{}
	return presences, b.eachConn(ctx, true, func(node string, conn *connInfo) {
		for _, s := range conn.Subscriptions {
			key := subKey{subject: s.Subject, queue: s.Queue != ""}
			presence := presences[key]
			if presence == nil {
				presence = b.presenceOf(key)
				presences[key] = presence
			}
			if presence.Service == "" {
				continue
			}
			presence.Receivers++
			presence.Peers = append(presence.Peers, conn.peer(node))
		}
	})
}

// Prefixes returns the prefixes of all subjects of the bus's account. Without [WithMonitor], it
// fails with code unimplemented.
func (b *Bus) Prefixes(ctx context.Context) ([]string, error) {
	if err := b.checkInspection(ctx); err != nil {
		return nil, err
	}
	prefixes := driver.NewPrefixes(b.options.Prefix)
	err := b.eachSubscription(ctx, func(_ *connInfo, s subscriptionInfo) {
		prefixes.Add(s.Subject, func(rest string) (string, bool) { return wire.PrefixOfSubject(rest, s.Queue != "") })
	})
	if err != nil {
		return nil, err
	}
	return prefixes.Sorted(), nil
}

// presenceOf returns the presence of a subject. Its service is empty if the subject belongs to
// another program or has another prefix.
func (b *Bus) presenceOf(key subKey) *bus.Presence {
	subject, found := strings.CutPrefix(key.subject, b.options.Prefix)
	parts, ok := wire.ParseSubject(subject, key.queue, b.options.subjectPerMethod)
	if !found || !ok {
		return &bus.Presence{}
	}
	return &bus.Presence{
		Channel: key.subject, Service: parts.Service, Method: parts.Method, Topic: parts.Topic, Carries: parts.Carries,
		Queue: parts.Queue, ClientID: parts.ClientID, Address: parts.Address,
	}
}

// Peers returns the connections of the bus's account that have subscriptions. Without
// [WithMonitor], it fails with code unimplemented.
func (b *Bus) Peers(ctx context.Context) ([]bus.Peer, error) {
	if err := b.checkInspection(ctx); err != nil {
		return nil, err
	}
	var peers []bus.Peer
	err := b.eachConn(ctx, false, func(node string, conn *connInfo) {
		if conn.NumSubs > 0 {
			peers = append(peers, conn.peer(node))
		}
	})
	return peers, err
}

// peer returns what the server knows about a connection. node is the name of the server.
func (c *connInfo) peer(node string) bus.Peer {
	// The durations are computed from times, because the server writes durations in a format of its
	// own, such as 2d4h.
	return bus.Peer{
		Address: c.address(), Name: c.Name, Node: node, PendingBytes: c.Pending, Subscriptions: c.NumSubs,
		Connected: max(c.now.Sub(c.Start), 0).Truncate(time.Millisecond),
		Idle:      max(c.now.Sub(c.LastActivity), 0).Truncate(time.Millisecond),
	}
}
