package natsbus

import "github.com/dynpsrpc/dynpsrpc/bus"

// outgoing is a frame to be published.
type outgoing struct {
	subject string
	// key is the routing key to append to frame. It may be empty.
	key    string
	frame  []byte
	report bus.DeliveryReport
}

// maxRepeated is the maximum size, in bytes, of a frame that the bus keeps in case it must publish
// the frame again. This limits the memory that unconfirmed frames take.
const maxRepeated = 64 << 10
