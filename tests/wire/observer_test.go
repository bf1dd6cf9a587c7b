package wire_test

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

// patience bounds the wait for what must come.
const patience = 10 * time.Second

// observer sees what is on a broker, without being one of those who listen, as far as that is
// possible.
type observer struct {
	mu       sync.Mutex
	watchers []*watcher
	locks    map[lock][][]string // commands
}

// lock is the key of a queue's lock in a database.
type lock struct {
	database int
	key      string
}

func newObserver() *observer { return &observer{locks: map[lock][][]string{}} }

// watcher keeps the frames of one service that nobody has taken yet.
type watcher struct {
	roots   []string      // of channels
	changed chan struct{} // room for one

	mu       sync.Mutex
	frames   []frame
	unwanted map[string]int // payloads that the player sent itself
}

func isBelow(channel, root string) bool {
	return channel == root || strings.HasPrefix(channel, root+"|") || strings.HasPrefix(channel, root+".")
}

// watch keeps the frames on channels whose names begin with one of these parts, from now on.
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

// sends keeps a frame of the player's own from being taken for one of the engine's.
func (w *watcher) sends(payload []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unwanted[string(payload)]++
}

// saw leaves out the cancellations that our peers tell each other on a channel of their own.
func (w *watcher) saw(channel string, payload []byte) {
	f, err := parseFrame(channel, payload)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.unwanted[string(payload)] > 0:
		w.unwanted[string(payload)]--
	case err != nil:
		w.frames = append(w.frames, frame{channel: channel, payload: payload, typeURL: "undecodable"})
	case f.typeName() != "dynpsrpc.Cancel":
		w.frames = append(w.frames, f)
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// take waits for a frame that fits, and removes it. It reports false if none came.
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

// rest returns the frames that nobody took.
func (w *watcher) rest() []frame {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.frames)
}

// observeRedis reads what MONITOR tells: the frames, and the commands that lock them. It ends with
// the test.
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
	running.Go(func() { // the cleanup waits for it
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

// monitored returns the database and the words of a command in a line of MONITOR, which is like
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

// observeNATS subscribes to everything, and so is a listener itself.
func observeNATS(t testing.TB, url string) *observer {
	t.Helper()
	o := newObserver()
	conn, err := nats.Connect(url)
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

// observedBus is a local bus that shows what is published on it.
type observedBus struct {
	*bus.Local

	observer *observer
}

func (b observedBus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	b.observer.sawFrame(channel.Name, frame)
	return b.Local.Publish(ctx, channel, frame, report)
}
