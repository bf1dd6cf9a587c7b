package redisbus

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"math/rand/v2"
	"strconv"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// lockSeconds is how long a lock lives.
	lockSeconds = 5
	// keySize is the length of a lock's key: that of a SHA-256 in base64.
	keySize = 44
)

// contest is a frame of a queue that this process would like to deliver.
type contest struct {
	channel  *channel
	audience *audience // as it was when the frame came; inside its gate
	frame    []byte
}

// lockKey is the key of a frame's lock: psrpc's, as are its life and the form of the command.
func lockKey(frame []byte) string {
	var key [keySize]byte
	putLockKey(&key, frame)
	return string(key[:])
}

func putLockKey(key *[keySize]byte, frame []byte) {
	hash := sha256.Sum256(frame)
	base64.StdEncoding.Encode(key[:], hash[:])
}

// lockSlot is the SET with which processes contend for a frame.
type lockSlot struct {
	*redis.StatusCmd

	bus    *Bus
	item   contest
	key    string // what is in keyBuf
	keyBuf [keySize]byte
}

func (b *Bus) newLockSlot() slot[contest] {
	s := &lockSlot{bus: b}
	s.key = unsafe.String(&s.keyBuf[0], keySize) //nolint:gosec // changes when the command is not under way
	value := strconv.Itoa(rand.IntN(1000))       //nolint:gosec // nobody reads it
	s.StatusCmd = redis.NewStatusCmd(context.Background(), "set", &s.key, value, "ex", lockSeconds, "nx")
	return s
}

// NoRetry keeps go-redis from finding the frame locked by its own first try.
func (s *lockSlot) NoRetry() bool { return true }

func (s *lockSlot) set(item contest) int {
	s.item = item
	putLockKey(&s.keyBuf, item.frame)
	s.SetErr(nil)
	s.SetVal("")
	return keySize
}

func (s *lockSlot) settle(err error) {
	item := s.item
	s.item = contest{}
	if movedTo(err) {
		s.bus.workers.Go(func() { s.bus.contendElsewhere(item) }) // Close waits for it
		return
	}
	s.bus.decide(item, err)
}

// contendElsewhere asks for a lock that was not where the bus thought, as it is while a cluster changes.
func (b *Bus) contendElsewhere(item contest) {
	b.topology.moved(b.ctx)
	options := redis.SetArgs{Mode: "NX", TTL: lockSeconds * time.Second}
	b.decide(item, b.client.SetArgs(b.ctx, lockKey(item.frame), 0, options).Err())
}

// decide delivers the frame if this process got the lock.
func (b *Bus) decide(item contest, err error) {
	defer item.audience.contests.Leave()
	switch {
	case errors.Is(err, redis.Nil): // another process has it
	case err != nil:
		b.dropped.Add(1) // as psrpc does: nobody knows whether another process has it
	case !item.channel.audience.Load().members.DeliverQueue(item.frame) && !item.audience.members.DeliverQueue(item.frame):
		b.dropped.Add(1) // cannot happen: a queue's last member waits for its contests
	}
}
