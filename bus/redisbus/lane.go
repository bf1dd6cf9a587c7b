package redisbus

import (
	"bufio"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// maxSent is how many batches of a lane may be on their way: one would make the largest, and the longest waits.
	maxSent = 2
	// publishBatch and lockBatch are how many commands a batch has at most. Whoever asks for locks first gets them all, so
	// that large batches would give a burst of frames to one process.
	publishBatch, lockBatch = 512, 64
	// batchBytes is the size at which a batch is complete: a larger one is out of the processor's caches when it is sent.
	batchBytes = 256 << 10
	// maxInline is how many bytes whoever puts in a command also writes: a socket takes so many at once.
	maxInline = 32 << 10
)

var errNoRoom = errors.NewErrorf(errors.ResourceExhausted, "redis bus: too many commands wait for their server")

// command is what a lane sends. Redis answers it with one line.
type command interface {
	// size is about how many bytes it has.
	size() int
	write(w *bufio.Writer)
	// settle tells what became of it: Redis' answer, or why Redis could not be asked.
	settle(answer int64, err error)
}

// lane sends commands of one kind in order, over a connection of its own. As long as few batches are on their way whoever
// puts in a command writes it, which saves waking a goroutine. Else it waits for a reply, with all that come meanwhile.
type lane[T command] struct {
	session   *session
	node      *redis.Client
	essential bool          // the session ends if the lane's connection fails. Else the lane takes another one
	room      int           // for so many waiting commands
	batch     int           // this many are sent together at most
	wanted    chan struct{} // holds a token if commands wait for a connection to be made

	writing sync.Mutex // held by whoever writes

	mu      sync.Mutex
	conn    *conn
	waiting []T
	bytes   int           // size of what is waiting
	sent    [][]T         // batches on their way, the oldest first. One without commands is a PING
	spare   [][]T         // empty batches
	taken   chan struct{} // closed when what is waiting has been taken; nil if nobody asked
	ended   error         // why the lane takes no more

	// Of the lane's goroutine.
	answered int       // commands of the oldest batch
	answers  int       // all that came
	seen     int       // answers when the deadline last passed
	since    time.Time // then the lane was idle, or answers had come
	patience time.Time // how long Redis may take for what is on its way, once the session has ended
}

// newLane returns a lane over connection; without one it makes it once it is needed.
func newLane[T command](s *session, room, batch int, node *redis.Client, connection *conn) *lane[T] {
	return &lane[T]{
		session: s, node: node, essential: node == s.node, room: room, batch: batch, conn: connection,
		wanted: make(chan struct{}, 1),
	}
}

// send puts item into the lane and sees to it that it is written.
func (l *lane[T]) send(ctx context.Context, item T) error {
	err := l.put(ctx, item)
	if err == nil {
		l.flush(maxInline)
	}
	return err
}

// put puts item into the lane, where it waits for a flush. An essential lane waits for room if it must; another one
// fails if it is full. Once the session has ended put returns its error; a nil error means that item will be settled.
func (l *lane[T]) put(ctx context.Context, item T) error {
	for {
		taken, err := l.tryPut(item)
		if !errors.Is(err, errNoRoom) || !l.essential { // the server of another does not answer, which holds up nobody else
			return err
		}
		l.flush(maxInline)
		select {
		case <-taken:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.session.ctx.Done():
			return l.session.err()
		}
	}
}

// tryPut returns what to wait for if it fails with errNoRoom.
func (l *lane[T]) tryPut(item T) (taken <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ended != nil:
		return nil, l.ended
	case len(l.waiting) >= l.room:
		if l.taken == nil {
			l.taken = make(chan struct{})
		}
		return l.taken, errNoRoom
	}
	l.waiting = append(l.waiting, item)
	l.bytes += item.size()
	if l.conn == nil {
		select {
		case l.wanted <- struct{}{}:
		default:
		}
	}
	return nil, nil //nolint:nilnil // there is nothing to wait for
}

// flush writes what is waiting, unless too much is on its way, or somebody else writes, who then sees to it. More bytes
// than most are left to the lane's goroutine.
func (l *lane[T]) flush(most int) {
	for {
		bytes, connection := l.due(most)
		switch {
		case connection == nil:
			return
		case bytes > most:
			connection.wake()
			return
		case !l.writing.TryLock():
			return
		}
		if batch := l.take(most); batch != nil {
			l.write(connection, batch)
		}
		l.writing.Unlock()
	}
}

// flushAll is the flush of the lane's goroutine.
func (l *lane[T]) flushAll() { l.flush(math.MaxInt) }

// due returns the connection if something is to be written on it, and how much. More than most need the lane's
// goroutine, which is woken by answers unless there are none to come.
func (l *lane[T]) due(most int) (bytes int, connection *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 || len(l.sent) >= maxSent || l.bytes > most && len(l.sent) > 0 {
		return 0, nil
	}
	return l.bytes, l.conn
}

// take returns the next batch, which counts as sent from now on; nil if there may be none.
func (l *lane[T]) take(most int) []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 || len(l.sent) >= maxSent || l.bytes > most {
		return nil
	}
	var batch []T
	if last := len(l.spare) - 1; last >= 0 {
		batch, l.spare = l.spare[last], l.spare[:last]
	}
	for bytes := 0; len(batch) < min(len(l.waiting), l.batch) && bytes < batchBytes; {
		item := l.waiting[len(batch)]
		batch = append(batch, item)
		bytes += item.size()
		l.bytes -= item.size()
	}
	l.waiting = slices.Delete(l.waiting, 0, len(batch))
	l.sent = append(l.sent, batch)
	l.announceLocked()
	return batch
}

// announceLocked tells those who wait for room.
func (l *lane[T]) announceLocked() {
	if l.taken != nil {
		close(l.taken)
		l.taken = nil
	}
}

// write sends a batch. If that fails the lane's goroutine finds the connection closed.
func (l *lane[T]) write(connection *conn, batch []T) {
	for i := range batch {
		batch[i].write(connection.writer)
	}
	if connection.writer.Flush() != nil {
		_ = connection.Close()
	}
}
