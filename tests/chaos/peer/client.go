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

// maxPending bounds the attempts of one kind that a client makes at once.
const maxPending = 500

// feeds are the methods of the updates, by the kind that reports name.
var feeds = map[string]string{"one": "One", "all": "All"}

// client makes attempts of every kind at a rate.
type client struct {
	settings

	attempts map[string]attempt
	streams  *textClient
	ids      atomic.Int64

	// stop ends the load that runs, and waits until all of its attempts have ended.
	stop func()
}

// attempt does something once. id is unique among all attempts of all processes.
type attempt func(ctx context.Context, id string) error

// runClient makes attempts, at the rate that commands set, until ctx ends.
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
	var mu sync.Mutex // commands and the end may change the rate at once
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
	go readCommands(setRate) // it ends with the process
	reportf("ready")
	<-ctx.Done()
	setRate(0)
	return conn.Close()
}

func (c *client) newID() string { return fmt.Sprintf("%s-%d", c.name, c.ids.Add(1)) }

// start makes rate attempts of each kind in a second, until stop is called.
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

// repeat makes rate attempts of one kind in a second. It returns when ctx has ended and all of the
// attempts have, too.
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
			continue // the attempts wait for their timeouts
		}
		attempts.Go(func() { // repeat waits for it
			defer func() { <-pending }()
			id, begun := c.newID(), time.Now()
			reportEnded(kind, id, begun, try(context.Background(), id))
		})
	}
}

// sendOnStreams sends messages on a stream, at the rate, and opens another one when it has ended.
// The IDs of the messages of one stream have the stream's ID and their number.
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
