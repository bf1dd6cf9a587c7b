package wire

import (
	"fmt"
	"strings"
)

// Channel is an address on a bus, in the forms that different buses use.
type Channel struct {
	// Name is the address on Redis and in-process.
	Name string
	// Subject is the address on NATS.
	Subject string
	// Key is the routing key inside the envelope on NATS, where several methods
	// share a subject. It is empty for channels of a client or of a service.
	Key string
}

// What a channel carries, as the last part of its name.
const (
	suffixRequest       = "REQ"
	suffixClaimRequest  = "CLAIM"
	suffixClaimResponse = "RCLAIM"
	suffixResponse      = "RES"
	suffixStream        = "STR"
	suffixCancel        = "CANCEL"
)

// RequestChannel returns the channel on which servers listen for the requests
// of a method, or subscribers for its messages. queue says that the method is
// queued: one listener gets each frame.
func RequestChannel(service, method string, topic []string, queue bool) Channel {
	channel := serverChannel(service, method, topic, suffixRequest)
	if queue {
		channel.Subject += ".Q"
	}
	return channel
}

// ClaimResponseChannel returns the channel on which servers listen for the
// client's choice among their claims.
func ClaimResponseChannel(service, method string, topic []string) Channel {
	return serverChannel(service, method, topic, suffixClaimResponse)
}

// StreamServerChannel returns the channel on which servers listen for stream
// frames.
func StreamServerChannel(service, method string, topic []string) Channel {
	return serverChannel(service, method, topic, suffixStream)
}

// ClaimRequestChannel returns the channel on which a client listens for claims.
func ClaimRequestChannel(service, clientID string) Channel {
	return clientChannel(service, clientID, suffixClaimRequest)
}

// ResponseChannel returns the channel on which a client listens for responses.
func ResponseChannel(service, clientID string) Channel {
	return clientChannel(service, clientID, suffixResponse)
}

// StreamClientChannel returns the channel on which a client listens for stream
// frames.
func StreamClientChannel(service, clientID string) Channel {
	return clientChannel(service, clientID, suffixStream)
}

// CancelChannel returns the channel on which servers listen for cancellations,
// of all methods of a service. It is ours: psrpc never listens to it.
func CancelChannel(service string) Channel {
	return Channel{
		Name:    joinName(sanitize(service), suffixCancel),
		Subject: "DYN." + service + "." + suffixCancel,
	}
}

// serverChannel sanitises the topic in the subject, but, as psrpc does, neither
// the service nor the method in subject and key.
func serverChannel(service, method string, topic []string, suffix string) Channel {
	parts := make([]string, len(topic))
	var subject strings.Builder
	subject.WriteString("SRV." + service)
	for i, part := range topic {
		parts[i] = sanitize(part)
		if part != "" {
			subject.WriteString("." + parts[i])
		}
	}
	return Channel{
		Name:    joinName(sanitize(service), sanitize(method), joinName(parts...), suffix),
		Subject: subject.String(),
		Key:     method + "." + suffix,
	}
}

func clientChannel(service, clientID, suffix string) Channel {
	return Channel{
		Name:    joinName(sanitize(service), sanitize(clientID), suffix),
		Subject: "CLI." + service + "." + clientID + "." + suffix,
	}
}

// joinName joins parts as psrpc does: a delimiter stands before a part if the
// part before it is not empty. So an empty part vanishes with its delimiter,
// except at the end, where the delimiter before it remains.
func joinName(parts ...string) string {
	var name strings.Builder
	previous := ""
	for _, part := range parts {
		if previous != "" {
			name.WriteByte('|')
		}
		name.WriteString(part)
		previous = part
	}
	return name.String()
}

// sanitize replaces all but ASCII letters, digits and the underscore: a code
// point below U+10000 by u+ and four hex digits, others by U+ and eight. A byte
// that is not UTF-8 counts as U+FFFD.
func sanitize(s string) string {
	if strings.IndexFunc(s, needsEscape) < 0 {
		return s
	}
	var clean strings.Builder
	for _, r := range s {
		switch {
		case !needsEscape(r):
			clean.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&clean, "u+%04x", r)
		default:
			fmt.Fprintf(&clean, "U+%08x", r)
		}
	}
	return clean.String()
}

func needsEscape(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_':
		return false
	default:
		return true
	}
}
