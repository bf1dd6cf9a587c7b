package wire

import (
	"fmt"
	"strings"
)

// Channel is an address on a bus. Each kind of bus uses the fields that it needs.
type Channel struct {
	// Name is the address on Redis and on the in-process bus.
	Name string
	// Subject is the address on NATS.
	Subject string
	// Key is the routing key, which is added to the envelope on NATS, where several methods share a
	// subject. It is empty for all channels that have a subject of their own, such as those of a
	// client.
	Key string
}

// A channel's name ends with one of these suffixes. The suffix identifies the kind of messages sent
// on the channel.
const (
	suffixRequest       = "REQ"
	suffixClaimRequest  = "CLAIM"
	suffixClaimResponse = "RCLAIM"
	suffixResponse      = "RES"
	suffixStream        = "STR"
	suffixCancel        = "CANCEL"
	suffixDiscover      = "DISCOVER"
	suffixPresence      = "PRESENCE"
	suffixUnicast       = "UNICAST"
)

// RequestChannel returns the channel on which servers receive the requests for a method and
// subscribers receive its updates. queue must be true for queued methods, for which only one server
// or subscriber receives each frame.
func RequestChannel(service, method string, topic []string, queue bool) Channel {
	channel := serverChannel(service, method, topic, suffixRequest)
	if queue {
		channel.Subject += ".Q"
	}
	return channel
}

// ClaimResponseChannel returns the channel on which the servers of a method receive [ClaimResponse]
// messages from clients.
func ClaimResponseChannel(service, method string, topic []string) Channel {
	return serverChannel(service, method, topic, suffixClaimResponse)
}

// StreamServerChannel returns the channel on which the servers of a method receive stream frames.
func StreamServerChannel(service, method string, topic []string) Channel {
	return serverChannel(service, method, topic, suffixStream)
}

// ClaimRequestChannel returns the channel on which a client receives claims.
func ClaimRequestChannel(service, clientID string) Channel {
	return clientChannel(service, clientID, suffixClaimRequest)
}

// ResponseChannel returns the channel on which a client receives responses.
func ResponseChannel(service, clientID string) Channel {
	return clientChannel(service, clientID, suffixResponse)
}

// StreamClientChannel returns the channel on which a client receives stream frames.
func StreamClientChannel(service, clientID string) Channel {
	return clientChannel(service, clientID, suffixStream)
}

// CancelChannel returns the channel on which servers receive cancellations for all methods of a
// service. psrpc peers do not use it.
func CancelChannel(service string) Channel { return privateChannel(service, suffixCancel) }

// DiscoverChannel returns the channel on which the servers of a service receive [Discover]
// messages. psrpc peers do not use it.
func DiscoverChannel(service string) Channel { return privateChannel(service, suffixDiscover) }

// PresenceChannel returns the channel on which all clients of a service receive [Presence]
// messages. psrpc peers do not use it.
func PresenceChannel(service string) Channel { return privateChannel(service, suffixPresence) }

// PresenceClientChannel returns the channel on which one client receives [Presence] messages in
// response to its [Discover]. psrpc peers do not use it.
func PresenceClientChannel(service, clientID string) Channel {
	return clientChannel(service, clientID, suffixPresence)
}

// UnicastChannel returns the channel on which a single server of a service receives requests. The
// address identifies the server, see [Presence.Address]. psrpc peers do not use this channel.
func UnicastChannel(service, address string) Channel {
	return Channel{
		Name:    joinName(sanitize(service), sanitize(address), suffixUnicast),
		Subject: "DYN." + service + "." + address + "." + suffixUnicast,
	}
}

// privateChannel returns a channel that only dynpsrpc peers of the service use.
func privateChannel(service, suffix string) Channel {
	return Channel{
		Name:    joinName(sanitize(service), suffix),
		Subject: "DYN." + service + "." + suffix,
	}
}

// serverChannel returns a channel on which servers receive frames. As in psrpc, all parts of Name
// are escaped. In Subject, only the topic is escaped. Key is not escaped.
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

// clientChannel returns a channel on which a client receives frames.
func clientChannel(service, clientID, suffix string) Channel {
	return Channel{
		Name:    joinName(sanitize(service), sanitize(clientID), suffix),
		Subject: "CLI." + service + "." + clientID + "." + suffix,
	}
}

// joinName joins parts in the same way as psrpc: it writes a delimiter between two parts only if
// the first of the two is not empty. For example, "a", "", "b" becomes "a|b", but "a", "" becomes
// "a|".
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

// sanitize escapes everything except ASCII letters, digits and underscores. Code points below
// U+10000 are written as u+ followed by four hex digits, others as U+ followed by eight. A byte
// that is not valid UTF-8 is treated as U+FFFD.
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
