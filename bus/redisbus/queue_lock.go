package redisbus

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"math/rand/v2"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// lockSeconds is how long a lock lives. It is psrpc's, as is the form of the key and the command.
const lockSeconds = 5

// contest is a frame of a queue that this process would like to deliver.
type contest struct {
	channel  *channel
	audience *audience // as it was when the frame came; inside its gate
	frame    []byte
}

// lockSlot is the SET with which processes contend for a frame.
type lockSlot struct {
	*redis.StatusCmd

	bus  *Bus
	item contest
	key  string
}

func (b *Bus) newLockSlot() slot[contest] {
	s := &lockSlot{bus: b}
	value := strconv.Itoa(rand.Int()) //nolint:gosec // not a secret, and nobody reads it
	s.StatusCmd = redis.NewStatusCmd(context.Background(), "set", &s.key, value, "ex", lockSeconds, "nx")
	return s
}

// NoRetry keeps go-redis from finding the frame locked by its own first try.
func (s *lockSlot) NoRetry() bool { return true }

func (s *lockSlot) set(item contest) int {
	hash := sha256.Sum256(item.frame)
	s.item = item
	s.key = base64.StdEncoding.EncodeToString(hash[:])
	s.SetErr(nil)
	s.SetVal("")
	return len(s.key)
}

// settle delivers the frame if this process got the lock.
func (s *lockSlot) settle(err error) {
	item := s.item
	s.item = contest{}
	defer item.audience.contests.Leave()
	switch {
	case errors.Is(err, redis.Nil): // another process has it
	case err != nil:
		s.bus.dropped.Add(1) // as psrpc does: nobody knows whether another process has it
	case !item.channel.audience.Load().members.DeliverQueue(item.frame) && !item.audience.members.DeliverQueue(item.frame):
		s.bus.dropped.Add(1) // cannot happen: a queue's last member waits for its contests
	}
}
