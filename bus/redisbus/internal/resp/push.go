package resp

import "bufio"

// Push is a message that Redis sends on a pub/sub connection in RESP2. It contains a frame,
// confirms that a channel has been subscribed or unsubscribed, or is the reply to a PING.
type Push struct {
	// Kind is the kind of the push as Redis spells it, for example subscribe, or [Pong].
	Kind string
	// Channel is the name of the channel. It is valid until the next read.
	Channel []byte
	// Message is the frame, or nil for a confirmation. The caller owns it.
	Message []byte
}

// Pong is the kind of the reply to a PING.
const Pong = "pong"

// IsMessage reports whether the push contains a frame.
func (p Push) IsMessage() bool { return p.Kind == "message" || p.Kind == "smessage" }

// pushKinds contains all kinds of pushes except Pong. ReadPush uses these strings instead of
// allocating new ones.
var pushKinds = [...]string{"message", "smessage", "subscribe", "unsubscribe", "ssubscribe", "sunsubscribe"}

// ReadPush reads a push. It stores the channel name in buffer if there is enough room. A frame
// always gets memory of its own, because receivers may keep it. If Redis has refused a command, the
// error is an [Error]. Any other error means that the connection has failed; see [IsError].
func ReadPush(r *bufio.Reader, buffer []byte) (Push, error) {
	kind, content, err := readLine(r)
	switch {
	case err != nil:
		return Push{}, err
	case kind == '-':
		return Push{}, Error(content)
	case kind == '+' && string(content) == "PONG":
		// Redis replies to PING in this form while no channel is subscribed.
		return Push{Kind: Pong}, nil
	case kind == '*' && string(content) == "2":
		return readPong(r, buffer)
	case kind != '*' || string(content) != "3":
		return Push{}, unexpectedError(content)
	}
	var p Push
	name, err := readBulk(r, buffer)
	if err != nil {
		return Push{}, err
	}
	for _, kind := range pushKinds {
		if string(name) == kind {
			p.Kind = kind
		}
	}
	if p.Kind == "" {
		return Push{}, unexpectedError(name)
	}
	if p.Channel, err = readBulk(r, buffer); err != nil {
		return Push{}, err
	}
	if p.IsMessage() {
		p.Message, err = readBulk(r, nil)
		return p, err
	}
	if kind, content, err = readLine(r); err == nil && kind != ':' {
		err = unexpectedError(content)
	}
	return p, err
}

// readPong reads the rest of the reply to a PING on a connection that has subscribed to channels.
func readPong(r *bufio.Reader, buffer []byte) (Push, error) {
	name, err := readBulk(r, buffer)
	if err != nil {
		return Push{}, err
	}
	if string(name) != Pong {
		return Push{}, unexpectedError(name)
	}
	// Skip the argument of the PING, which is empty.
	_, err = readBulk(r, buffer)
	return Push{Kind: Pong}, err
}
