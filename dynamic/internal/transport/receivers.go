package transport

import "github.com/dynpsrpc/dynpsrpc/bus"

// CountsReceivers reports whether a bus counts the receivers of the frames that it publishes.
func CountsReceivers(b bus.Bus) bool {
	counter, ok := b.(bus.ReceiverCounter)
	return !ok || counter.CountsReceivers()
}
