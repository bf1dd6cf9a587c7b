package wire

// probeName is the full name of the message in a probe. No peer knows such a message.
const probeName = "dynpsrpc.Probe"

// Probe returns a frame without a message. The NATS bus publishes it to find out whether a subject
// has subscribers. All peers drop it: it has no routing key and contains a message of unknown type.
func Probe() []byte { return beginFrame(nil, probeName, 0, 0) }
