package conformance_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// patience is the timeout for events that must happen.
const patience = 30 * time.Second

// observer records the frames and the lock commands on a broker. On Redis and on the in-process
// bus, it does so without subscribing, so that it is not counted as a receiver.
type observer struct {
	mu       sync.Mutex
	watchers []*watcher
	locks    map[lock][][]string // the commands that tried to take each lock
}

// lock identifies a queue lock in Redis.
type lock struct {
	database int
	key      string
}

func newObserver() *observer { return &observer{locks: map[lock][][]string{}} }

// watcher collects the frames of one service.
type watcher struct {
	// roots contains the prefixes of the channel names to watch.
	roots   []string
	changed chan struct{} // receives a value when frames changes; its capacity is 1

	mu       sync.Mutex
	frames   []frame
	unwanted map[string]int // number of frames to ignore, keyed by their bytes
}

func isBelow(channel, root string) bool {
	return channel == root || strings.HasPrefix(channel, root+"|") || strings.HasPrefix(channel, root+".")
}

// watch returns a watcher that collects all future frames on channels whose names begin with one of
// the roots.
func (o *observer) watch(roots ...string) *watcher {
	w := &watcher{roots: roots, changed: make(chan struct{}, 1), unwanted: map[string]int{}}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.watchers = append(o.watchers, w)
	return w
}

func (o *observer) sawFrame(channel string, payload []byte) {
	o.mu.Lock()
	watchers := slices.Clone(o.watchers)
	o.mu.Unlock()
	for _, w := range watchers {
		if slices.ContainsFunc(w.roots, func(root string) bool { return isBelow(channel, root) }) {
			w.saw(channel, payload)
		}
	}
}

func (o *observer) sawLock(database int, command []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := lock{database, command[1]}
	o.locks[key] = append(o.locks[key], command)
}

// locksOf returns the commands that tried to lock a frame.
func (o *observer) locksOf(database int, payload []byte) [][]string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.locks[lock{database, lockKey(string(payload))}]
}

// sends announces a frame that the replaying side is about to publish. The watcher then does not
// mistake it for a frame sent by dynpsrpc.
func (w *watcher) sends(payload []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unwanted[string(payload)]++
}

// privateChannels contains the suffixes of channel names that only dynpsrpc peers use.
var privateChannels = []string{"|CANCEL", "|DISCOVER", "|PRESENCE", "|UNICAST"}

// isPrivate reports whether only dynpsrpc peers use a channel.
func isPrivate(channel string) bool {
	return slices.ContainsFunc(privateChannels, func(suffix string) bool { return strings.HasSuffix(channel, suffix) })
}

// saw adds a frame to the collected frames. It ignores frames that sends has announced, and frames
// on private channels, which are not part of psrpc's protocol.
func (w *watcher) saw(channel string, payload []byte) {
	f, err := parseFrame(channel, payload)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.unwanted[string(payload)] > 0:
		w.unwanted[string(payload)]--
	case err != nil:
		w.frames = append(w.frames, frame{channel: channel, payload: payload, typeURL: "undecodable"})
	case !isPrivate(channel):
		w.frames = append(w.frames, f)
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// take waits for a frame for which fits returns true, and removes it. It returns false if no such
// frame arrives in time.
func (w *watcher) take(fits func(frame) bool) (frame, bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		w.mu.Lock()
		i := slices.IndexFunc(w.frames, fits)
		if i >= 0 {
			f := w.frames[i]
			w.frames = slices.Delete(w.frames, i, i+1)
			w.mu.Unlock()
			return f, true
		}
		w.mu.Unlock()
		select {
		case <-w.changed:
		case <-timer.C:
			return frame{}, false
		}
	}
}

// rest returns the collected frames that have not been taken.
func (w *watcher) rest() []frame {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.frames)
}

// observeRedis runs the command MONITOR to observe published frames and lock commands. It stops
// when the test ends.
func observeRedis(t testing.TB, addr string) *observer {
	t.Helper()
	o := newObserver()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	_, err = fmt.Fprint(conn, "MONITOR\r\n")
	require.NoError(t, err)
	lines := bufio.NewReader(conn)
	answer, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "+OK\r\n", answer)
	var running sync.WaitGroup
	running.Go(func() { // the cleanup function waits for this goroutine
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			switch database, command := monitored(line); {
			case len(command) == 3 && strings.EqualFold(command[0], "publish"):
				o.sawFrame(command[1], []byte(command[2]))
			case len(command) > 2 && strings.EqualFold(command[0], "set"):
				o.sawLock(database, command)
			}
		}
	})
	t.Cleanup(func() {
		assert.NoError(t, conn.Close())
		running.Wait()
	})
	return o
}

// monitored parses an output line of MONITOR. It returns the number of the database and the words
// of the command. A line has this form:
//
//	+1795327837.541007 [0 127.0.0.1:40000] "publish" "channel" "frame"
func monitored(line string) (database int, command []string) {
	head, rest, _ := strings.Cut(line, "] ")
	_, head, _ = strings.Cut(head, "[")
	_, _ = fmt.Sscan(head, &database)
	for {
		rest = strings.TrimLeft(rest, " ")
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return database, command
		}
		rest = rest[len(quoted):]
		word, err := strconv.Unquote(quoted)
		if err != nil {
			return 0, nil
		}
		command = append(command, word)
	}
}

// observeNATS subscribes to all subjects. It is therefore a subscriber of every subject itself.
func observeNATS(t testing.TB, url string) *observer {
	t.Helper()
	o := newObserver()
	conn, err := nats.Connect(url, nats.Timeout(patience))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	_, err = conn.Subscribe(">", func(m *nats.Msg) {
		assert.Empty(t, m.Header, m.Subject)
		o.sawFrame(m.Subject, m.Data)
	})
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	return o
}

// observedBus is an in-process bus that shows all published frames to an observer.
type observedBus struct {
	*bus.Local

	observer *observer
}

func (b observedBus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	b.observer.sawFrame(channel.Name, frame)
	return b.Local.Publish(ctx, channel, frame, report)
}
