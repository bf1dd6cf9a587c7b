package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

const (
	requests = "bench.requests"
	replies  = "bench.replies"
	grants   = "bench.grants"
	// largestBatch is the maximum number of PUBLISH commands in a pipeline.
	largestBatch = 100
)

// redisRows returns the benchmarks that use go-redis directly.
func redisRows() []*row {
	var rows []*row
	for _, n := range []int{1, 16, 64} {
		for _, batched := range []bool{false, true} {
			name := "redis-pingpong"
			if batched {
				name += "-batched"
			}
			rows = append(rows, &row{name: fmt.Sprintf("%s/c%d", name, n), open: func(s *scene) load {
				return s.redisPingPong(1, n, batched)
			}})
		}
	}
	for _, subscribers := range []int{0, 1, 10} {
		rows = append(rows, &row{name: fmt.Sprintf("redis-pub-%dsub/max", subscribers), open: func(s *scene) load {
			return s.redisUpdates(subscribers)
		}})
	}
	return append(rows, rawCallRows(onRedis)...)
}

// redisClient returns a client that uses one connection in addition to those for its subscriptions.
func (s *scene) redisClient() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: s.brokers.redisAddr, PoolSize: 1})
	s.Cleanup(func() { _ = client.Close() })
	return client
}

// redisSubscribe subscribes to channels. deliver is called for each message.
func (s *scene) redisSubscribe(client *redis.Client, deliver func(channel, payload string), channels ...string) {
	ctx := s.Context()
	subscription := client.Subscribe(ctx, channels...)
	for range channels {
		// Receive waits until Redis has confirmed a subscription.
		_, err := subscription.Receive(ctx)
		s.check(err)
	}
	s.reader(func() {
		for {
			message, err := subscription.ReceiveMessage(ctx)
			if err != nil {
				return
			}
			deliver(message.Channel, message.Payload)
		}
	}, func() { _ = subscription.Close() })
}

// redisPublisher returns a function that publishes a payload on channel. If batched is false, the
// function waits for the reply from Redis. Otherwise, the function only queues the payload. Up to
// largestBatch queued payloads are then sent in one pipeline.
func (s *scene) redisPublisher(client *redis.Client, channel string, batched bool) func(payload string) error {
	ctx := s.Context()
	if !batched {
		return func(payload string) error { return client.Publish(ctx, channel, payload).Err() }
	}
	waiting := make(chan string, largestBatch)
	s.reader(func() {
		for payload := range waiting {
			pipeline := client.Pipeline()
			pipeline.Publish(ctx, channel, payload)
			for more := true; more && pipeline.Len() < largestBatch; {
				select {
				case payload, more = <-waiting:
					if more {
						pipeline.Publish(ctx, channel, payload)
					}
				default:
					more = false
				}
			}
			// If Exec fails, the operations that wait for the lost messages return errOverdue.
			_, _ = pipeline.Exec(ctx)
		}
	}, func() { close(waiting) })
	return func(payload string) error {
		waiting <- payload
		return nil
	}
}

// redisPingPong returns a [load] in which n concurrent callers make requests to the given number of
// servers. Each server has a channel of its own, and callers use them in turn.
func (s *scene) redisPingPong(servers, n int, batched bool) load {
	client := s.redisClient()
	send := make([]func(payload string) error, servers)
	for i := range send {
		server, channel := s.redisClient(), requests+strconv.Itoa(i)
		respond := s.redisPublisher(server, replies, batched)
		s.redisSubscribe(server, func(_, payload string) { _ = respond(payload) }, channel)
		send[i] = s.redisPublisher(client, channel, batched)
	}
	perCallerReplies := make([]chan string, n)
	for i := range perCallerReplies {
		perCallerReplies[i] = make(chan string, 1)
	}
	s.redisSubscribe(client, func(_, payload string) {
		number, _, _ := strings.Cut(payload, "|")
		if caller, err := strconv.Atoi(number); err == nil && caller < n {
			perCallerReplies[caller] <- payload
		}
	}, replies)
	return callers(perCaller(n, func(caller int) func() error {
		body, turn := s.body(caller), caller
		return func() error {
			turn++
			if err := send[turn%servers](body); err != nil {
				return err
			}
			select {
			case response := <-perCallerReplies[caller]:
				if response != body {
					return errWrongAnswer
				}
				return nil
			case <-s.overdue:
				return errOverdue
			}
		}
	}))
}

// redisUpdates returns a [load] that publishes updates in pipelines of up to largestBatch updates.
// subscribers is the number of subscribers.
func (s *scene) redisUpdates(subscribers int) load {
	f := newFeed(subscribers, 0)
	ctx, body := s.Context(), s.body(0)
	for range subscribers {
		subscriber := f.subscriber()
		s.redisSubscribe(s.redisClient(), func(_, payload string) { subscriber.got(payload == body) }, requests)
	}
	pipeline := s.redisClient().Pipeline()
	f.flush = func() error {
		_, err := pipeline.Exec(ctx)
		return err
	}
	f.publish = func() error {
		pipeline.Publish(ctx, requests, body)
		if pipeline.Len() < largestBatch {
			return nil
		}
		return f.flush()
	}
	return f.run
}
