package stream

import (
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/queue"
)

// Received is a message that has arrived. Its acknowledgement contains the same request ID, send
// time and expiry.
type Received struct {
	requestID []byte
	// sentAt and expiry are Unix times in nanoseconds, according to the sender's clock.
	sentAt, expiry int64
	// deadline is the time at which the sender stops waiting for an acknowledgement, measured from
	// the start of the stream.
	deadline time.Duration
	body     []byte
	// expanded is the number of bytes that are reserved in mailbox.decompressed for the message.
	expanded int
}

const (
	// mailboxSlack is the number of messages that a mailbox can hold in addition to the capacity of
	// the reader's channel. It makes room for a sender with a large window that is faster than the
	// reader. When the mailbox is full, further messages are dropped and counted, because the bus
	// callback must not wait. Their sender gets an error, because they are not acknowledged.
	mailboxSlack = 1024
	// maxMailboxBytes is the maximum total size, in bytes, of the messages in a mailbox. An empty
	// mailbox accepts a message of any size.
	maxMailboxBytes = 64 << 20
)

// mailbox holds messages that have arrived from the bus and that the goroutine of the stream has
// not taken yet. It limits their number and their size. All methods are safe for concurrent use.
type mailbox struct {
	messages queue.Mailbox[Received]
	// bytes is the total size of the messages in the mailbox.
	bytes atomic.Int64
	// decompressed limits the memory that decompressed messages use.
	decompressed *transport.Budget
}

func newMailbox(buffer int, decompressed *transport.Budget) mailbox {
	return mailbox{messages: queue.NewMailbox[Received](buffer + mailboxSlack), decompressed: decompressed}
}

// put adds a message. It returns false if there is no room for it.
func (b *mailbox) put(message Received) bool {
	size := int64(len(message.body))
	hasRoom := b.bytes.Add(size) <= maxMailboxBytes || b.messages.Len() == 0
	if hasRoom && b.decompressed.TryTake(message.expanded) {
		if b.messages.Push(message) {
			return true
		}
		b.decompressed.Release(message.expanded)
	}
	b.bytes.Add(-size)
	return false
}

// take removes and returns the oldest message. It returns false if there is none.
func (b *mailbox) take() (message Received, ok bool) {
	if message, ok = b.messages.Pop(); ok {
		b.decompressed.Release(message.expanded)
		b.bytes.Add(-int64(len(message.body)))
	}
	return message, ok
}

// close drops the messages in the mailbox, which will not be read, and messages that arrive later.
func (b *mailbox) close() {
	b.messages.Close()
	for _, ok := b.take(); ok; _, ok = b.take() {
	}
}
