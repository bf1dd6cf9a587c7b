package wire

// probeName is the full name of the message in a probe. No peer knows such a message.
const probeName = "dynpsrpc.Probe"

// Probe returns a frame that all peers drop, because it has no routing key and its inner message
// has an unknown type. The NATS bus publishes it to find out whether a subject has subscribers.
func Probe() []byte { return beginFrame(nil, probeName, 0, 0) }
