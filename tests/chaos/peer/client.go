package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// maxPending is the maximum number of attempts of one kind that a client makes at the same time.
const maxPending = 500

// feeds maps the kind of an update, as it appears in reports, to the method of service Feeds.
var feeds = map[string]string{"one": "One", "all": "All"}

// client makes attempts of every kind at a steady rate.
type client struct {
	settings

	attempts map[string]attempt
	streams  *textClient
	ids      atomic.Int64

	// stop ends the current load and waits until all of its attempts have ended.
	stop func()
}

// attempt makes one call, publishes one update or uses one stream. id is unique among all attempts
// of all processes.
type attempt func(ctx context.Context, id string) error

// runClient makes attempts until ctx ends. Commands set the rate.
func runClient(ctx context.Context, s settings, link bus.Bus) error {
	conn, err := newConn(link)
	if err != nil {
		return err
	}
	c := &client{settings: s, stop: func() {}}
	if c.attempts, err = newAttempts(conn, s.timeout); err != nil {
		return err
	}
	if c.streams, err = dynamic.NewClient[text, text](conn, "chaos.Work/Stream"); err != nil {
		return err
	}
	var mu sync.Mutex // a command may change the rate when ctx ends
	setRate := func(rate int) {
		mu.Lock()
		defer mu.Unlock()
		c.stop()
		if c.stop = func() {}; rate > 0 {
			c.start(rate)
			return
		}
		reportf("idle")
	}
	go readCommands(setRate) // reads until the process ends
	reportf("ready")
	<-ctx.Done()
	setRate(0)
	return conn.Close()
}

func (c *client) newID() string { return fmt.Sprintf("%s-%d", c.name, c.ids.Add(1)) }

// start makes attempts of each kind until stop is called. rate is their number per second and kind.
func (c *client) start(rate int) {
	ctx, cancel := context.WithCancel(context.Background())
	var kinds sync.WaitGroup
	for kind, try := range c.attempts {
		kinds.Go(func() { c.repeat(ctx, kind, rate, try) }) // ends with ctx
	}
	kinds.Go(func() { c.sendOnStreams(ctx, rate) }) // ends with ctx
	c.stop = func() {
		cancel()
		kinds.Wait()
	}
}

// repeat makes attempts of one kind until ctx ends. rate is their number per second. repeat returns
// when all attempts have ended.
func (c *client) repeat(ctx context.Context, kind string, rate int, try attempt) {
	ticker := time.NewTicker(time.Second / time.Duration(rate))
	defer ticker.Stop()
	pending := make(chan struct{}, maxPending)
	var attempts sync.WaitGroup
	defer attempts.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		select {
		case pending <- struct{}{}:
		default:
			continue // too many attempts have not ended yet
		}
		attempts.Go(func() { // repeat waits for the attempts to end
			defer func() { <-pending }()
			id, begun := c.newID(), time.Now()
			reportEnded(kind, id, begun, try(context.Background(), id))
		})
	}
}

// sendOnStreams sends messages on a stream until ctx ends. rate is their number per second. When
// the stream has ended, sendOnStreams opens another one. The ID of a message consists of the
// stream's ID and the number of the message.
func (c *client) sendOnStreams(ctx context.Context, rate int) {
	ticker := time.NewTicker(time.Second / time.Duration(rate))
	defer ticker.Stop()
	var stream textStream
	var id string
	sent := 0
	defer func() {
		if stream != nil {
			_ = stream.Close(nil) // the stream may have ended
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if stream == nil || stream.Err() != nil {
			var err error
			id, sent = c.newID(), 0
			begun := time.Now()
			if stream, err = c.streams.OpenStream(context.Background(), dynamic.WithRequestTimeout(c.timeout)); err != nil {
				reportEnded("reopening", id, begun, err)
				stream = nil
				continue
			}
			go func(s textStream) { // ends with the stream
				for range s.Channel() {
				}
			}(stream)
		}
		sent++
		message, begun := fmt.Sprintf("%s-%d", id, sent), time.Now()
		reportEnded("stream", message, begun, stream.Send(say(message)))
	}
}
