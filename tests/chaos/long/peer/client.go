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

// maxPending is the maximum number of operations of one kind that a client runs at the same time.
const maxPending = 500

// feeds maps each kind of update, as it is named in the reports, to a method of the service Feeds.
var feeds = map[string]string{"one": "One", "all": "All"}

// client starts operations of every kind at a steady rate.
type client struct {
	settings

	attempts map[string]attempt
	streams  *textClient
	ids      atomic.Int64

	// stop prevents further operations and waits until the running ones have ended.
	stop func()
}

// attempt is an operation that may fail. It makes one call, publishes one update or uses one
// stream. id is unique among the operations of all processes.
type attempt func(ctx context.Context, id string) error

// runClient runs operations until ctx ends. It starts none until a command sets the rate.
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
	// The mutex is needed because a command may be changing the rate when ctx ends.
	var mu sync.Mutex
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
	go readCommands(setRate) // this goroutine runs until the process ends
	reportf("ready")
	<-ctx.Done()
	setRate(0)
	return conn.Close()
}

func (c *client) newID() string { return fmt.Sprintf("%s-%d", c.name, c.ids.Add(1)) }

// start starts operations of every kind until stop is called. rate is the number of operations of
// each kind per second.
func (c *client) start(rate int) {
	ctx, cancel := context.WithCancel(context.Background())
	var kinds sync.WaitGroup
	for kind, try := range c.attempts {
		// This goroutine ends soon after ctx is canceled.
		kinds.Go(func() { c.repeat(ctx, kind, rate, try) })
	}
	// This goroutine ends soon after ctx is canceled.
	kinds.Go(func() { c.sendOnStreams(ctx, rate) })
	c.stop = func() {
		cancel()
		kinds.Wait()
	}
}

// repeat starts operations of one kind until ctx ends, and then waits for those that are running.
// rate is the number of operations per second.
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
			continue // maxPending operations are already running
		}
		// This goroutine ends before the method repeat returns.
		attempts.Go(func() {
			defer func() { <-pending }()
			id, begun := c.newID(), time.Now()
			reportEnded(kind, id, begun, try(context.Background(), id))
		})
	}
}

// sendOnStreams sends messages on a stream until ctx ends. rate is the number of messages per
// second. If the stream ends, sendOnStreams opens another one. The ID of a message consists of the
// stream's ID and the number of the message on this stream.
func (c *client) sendOnStreams(ctx context.Context, rate int) {
	ticker := time.NewTicker(time.Second / time.Duration(rate))
	defer ticker.Stop()
	var stream textStream
	var id string
	sent := 0
	defer func() {
		if stream != nil {
			// Ignore the error: Close fails if the stream has already ended.
			_ = stream.Close(nil)
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
			go func(s textStream) { // this goroutine ends when the stream does
				for range s.Channel() {
				}
			}(stream)
		}
		sent++
		message, begun := fmt.Sprintf("%s-%d", id, sent), time.Now()
		reportEnded("stream", message, begun, stream.Send(say(message)))
	}
}
