package explorer

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// idleAfter is the number of intervals for which polls continue after the last HTTP request if
	// no event stream is open. A page needs this time between its first request and opening its
	// event stream.
	idleAfter = 3
	// pollTimeout limits one poll.
	pollTimeout = 30 * time.Second
	// answerWait is how long a poll waits for servers that have not answered.
	answerWait = time.Second
	// scanInterval is how often a poll also scans the broker for channels. After a slow scan, the
	// interval is scanShare times the duration of the scan, so that scans take at most 1% of the
	// time.
	scanInterval, scanShare = 15 * time.Second, 100
	// maxChanges is the maximum number of changes that are buffered for a page that reads slowly.
	maxChanges = 256
	// maxTopicNodes is the maximum number of topics that the graph shows for a method on one
	// server. Pages without the graph need no topics.
	maxTopicNodes = 5
)

// poller polls the servers of the fleet at regular intervals while a page needs the result. All
// pages share the result. It is safe for concurrent use.
type poller struct {
	ctx     context.Context //nolint:containedctx // it ends the goroutine that polls
	tasks   *tasks
	fleet   *fleet.Fleet
	refresh time.Duration
	wait    time.Duration
	logger  *slog.Logger

	mu sync.Mutex
	// polling reports whether the polling goroutine runs. If no event stream is open, the goroutine
	// ends once the time stored in interest has passed.
	polling  bool
	interest time.Time
	// pages are the open event streams.
	pages map[*page]struct{}
	// current and before are the results of the last two successful polls, the newer one first.
	// failure is the error of the last poll, or nil. polled is closed when the next poll has ended.
	current *snapshot
	before  *snapshot
	failure error
	polled  chan struct{}
}

// page is an open event stream.
type page struct {
	poller *poller
	// wantsTopics reports whether the page shows topics. Polls include topics only if some page
	// does.
	wantsTopics bool
	changes     chan *fleet.Change
}

func newPoller(ctx context.Context, tasks *tasks, f *fleet.Fleet, o *options) *poller {
	return &poller{
		ctx: ctx, tasks: tasks, fleet: f, refresh: o.refresh, wait: o.answerWait, logger: o.logger,
		pages: map[*page]struct{}{}, polled: make(chan struct{}),
	}
}

// open adds an open page, which keeps the poller running. The caller must call close.
func (p *poller) open(wantsTopics bool) *page {
	p.mu.Lock()
	defer p.mu.Unlock()
	opened := &page{poller: p, wantsTopics: wantsTopics, changes: make(chan *fleet.Change, maxChanges)}
	p.pages[opened] = struct{}{}
	p.startLocked()
	return opened
}

func (g *page) close() {
	g.poller.mu.Lock()
	defer g.poller.mu.Unlock()
	delete(g.poller.pages, g)
}

// latest returns the last successful result, and the error of the last poll. next is closed after
// the next poll.
func (p *poller) latest() (current *snapshot, next <-chan struct{}, failure error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current, p.polled, p.failure
}

// since returns the result whose time is at, if it is one of the last two results. Otherwise, it
// returns nil. A page that has this result needs only the changes.
func (p *poller) since(at string) *snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range []*snapshot{p.current, p.before} {
		if s != nil && s.At.Format(time.RFC3339Nano) == at {
			return s
		}
	}
	return nil
}

// get returns the result of the last poll, or its error. If the poller was not running, get starts
// it and waits for the first poll, or until ctx ends.
func (p *poller) get(ctx context.Context) (*snapshot, error) {
	for {
		p.mu.Lock()
		p.interest = time.Now().Add(idleAfter * p.refresh)
		p.startLocked()
		current, failure, next := p.current, p.failure, p.polled
		p.mu.Unlock()
		switch {
		case p.ctx.Err() != nil:
			return nil, errClosed
		case current != nil || failure != nil:
			return current, failure
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil, errors.FromContext(ctx.Err())
		case <-p.ctx.Done():
		}
	}
}

// startLocked starts the polling goroutine, unless it runs. The caller must hold p.mu.
func (p *poller) startLocked() {
	if !p.polling {
		p.polling = p.tasks.run(p.run)
	}
}

// run polls until no page needs the result.
func (p *poller) run() {
	ctx, cancel := context.WithCancel(p.ctx)
	var following sync.WaitGroup
	following.Go(func() { p.followChanges(ctx) })
	defer following.Wait()
	defer cancel()
	var scan scanSchedule
	for {
		started := time.Now()
		p.poll(ctx, &scan)
		// Pause for at least twice as long as the poll took, to limit the load in large fleets.
		took := time.Since(started)
		select {
		case <-time.After(max(p.refresh-took, 2*took)):
		case <-ctx.Done():
		}
		if p.endIfIdle() {
			return
		}
	}
}

// endIfIdle ends the polling if no page needs it or the explorer has been closed, and reports
// whether it has done so. In that case, it also discards the results, because they would be
// outdated by the time a page needs them.
func (p *poller) endIfIdle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() == nil && (len(p.pages) > 0 || time.Now().Before(p.interest)) {
		return false
	}
	p.polling, p.current, p.before, p.failure = false, nil, nil, nil
	return true
}

// poll polls the servers once and wakes the pages.
func (p *poller) poll(ctx context.Context, scan *scanSchedule) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	previous, _, _ := p.latest()
	parts := []fleet.Part{fleet.PartStats, fleet.PartHealth}
	if p.wantsTopics() {
		parts = append(parts, fleet.PartTopics)
	}
	opts := []fleet.PeersOption{fleet.PeersQuery(fleet.Parts(parts...), fleet.Wait(p.wait), fleet.MaxTopics(maxTopicNodes))}
	isScan := scan.isDue()
	if isScan {
		opts = append(opts, fleet.Scan())
	}
	started := time.Now()
	peers, err := p.fleet.Peers(ctx, opts...)
	if isScan && err == nil {
		scan.done(time.Since(started))
		scan.peers = peers
	}
	var current *snapshot
	if err == nil {
		current = newSnapshot(time.Now(), peers, scan.peers, previous)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return // Close has ended the poll
	}
	if err == nil {
		p.before, p.current = p.current, current
	} else if p.failure == nil {
		p.logger.Warn("dynpsrpc: the explorer cannot ask the fleet", slog.Any("error", err))
	}
	p.failure = withoutFacts(err)
	close(p.polled)
	p.polled = make(chan struct{})
}

// withoutFacts returns the cause of a poll's error. It drops the facts of the error, such as times,
// which differ in every poll. Otherwise, the pages would get the same problem repeatedly.
func withoutFacts(err error) error {
	if _, hasFacts := errors.FactsOf(err); !hasFacts {
		return err
	}
	if cause, ok := errors.AsType[errors.Error](errors.Unwrap(err)); ok {
		return cause
	}
	return err
}

func (p *poller) wantsTopics() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for g := range p.pages {
		if g.wantsTopics {
			return true
		}
	}
	return false
}

// publish passes a change to all pages. A page that reads too slowly misses it, but the next poll
// shows the result of the change.
func (p *poller) publish(change *fleet.Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for g := range p.pages {
		select {
		case g.changes <- change:
		default:
		}
	}
}

// scanSchedule decides which polls also scan the broker for channels.
type scanSchedule struct {
	next time.Time
	// peers is the result of the last scan.
	peers *fleet.Peers
}

func (s *scanSchedule) isDue() bool { return !time.Now().Before(s.next) }

func (s *scanSchedule) done(took time.Duration) {
	s.next = time.Now().Add(max(scanInterval, scanShare*took))
}

// followChanges passes the changes of the fleet to the pages until ctx ends.
func (p *poller) followChanges(ctx context.Context) {
	for ctx.Err() == nil {
		if stream, err := p.fleet.Changes(ctx); err == nil {
			for change := range stream.Channel() {
				p.publish(change)
			}
			_ = stream.Close() // the stream has already ended, so an error does not matter
		}
		// Retry after a pause. If the bus is down, the pages learn that from the next poll.
		select {
		case <-time.After(p.refresh):
		case <-ctx.Done():
		}
	}
}
