package wire

import (
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ChannelParts contains the information in the name or the subject of a channel.
type ChannelParts struct {
	// Service and Method are the names of the service and the method to which the channel belongs.
	// Method is empty if the channel does not belong to a single method.
	Service, Method string
	// Topic holds the parts of the topic. It is nil if there is none.
	Topic []string
	// Carries is the kind of the messages on the channel. Usually, it is the last part of the name,
	// such as REQ. It is empty for a subject that carries several kinds of messages.
	Carries string
	// Queue reports whether the subject belongs to a queue. It is always false for a name.
	Queue bool
	// ClientID is the ID of the client that receives the messages. It is empty if the channel does
	// not belong to a client.
	ClientID string
	// Address is the address in the name of a [UnicastChannel].
	Address string
}

const (
	// suffixMarker follows the name of the request channel in the name of a marker channel.
	// dynpsrpc processes subscribe to marker channels on Redis to find out whether psrpc processes
	// serve the same queue.
	suffixMarker = "MARKER"
	// carriesPrivate is the value of [ChannelParts.Carries] for a subject on NATS that only the
	// dynpsrpc servers of one queued method use.
	carriesPrivate = "PRIVATE"
)

// ParseNames parses names and visits each one that has the form of a channel name. The names must
// not contain the prefix of the bus; see [PrefixOfName].
//
// The stream channel of a client has the same form as that of a method without a topic. ParseNames
// recognizes a client by its response channel, so names should contain all channel names of a bus.
func ParseNames(names []string) iter.Seq2[string, ChannelParts] {
	return func(yield func(string, ChannelParts) bool) {
		clients := map[string]bool{}
		for _, name := range names {
			if client, found := strings.CutSuffix(name, "|"+suffixResponse); found {
				clients[client] = true
			}
		}
		for _, name := range names {
			client, isStream := strings.CutSuffix(name, "|"+suffixStream)
			parts, ok := parseName(name, isStream && clients[client])
			if ok && !yield(name, parts) {
				return
			}
		}
	}
}

// parseName parses the name of a channel. clientStream reports whether the name belongs to the
// stream channel of a client.
func parseName(name string, clientStream bool) (parts ChannelParts, ok bool) {
	texts := strings.Split(name, "|")
	for i, escaped := range texts {
		if texts[i], ok = unescape(escaped); !ok {
			return ChannelParts{}, false
		}
	}
	last := len(texts) - 1
	parts = ChannelParts{Service: texts[0], Carries: texts[last]}
	switch parts.Carries {
	case suffixCancel, suffixDiscover:
		ok = last == 1
	case suffixPresence:
		if ok = last == 1 || last == 2; last == 2 {
			parts.ClientID = texts[1]
		}
	case suffixUnicast:
		if ok = last == 2; ok {
			parts.Address = texts[1]
		}
	case suffixResponse, suffixClaimRequest:
		if ok = last == 2; ok {
			parts.ClientID = texts[1]
		}
	case suffixRequest, suffixClaimResponse, suffixStream:
		switch ok = last >= 2; {
		case ok && clientStream:
			parts.ClientID = texts[1]
		case ok:
			parts.Method, parts.Topic = texts[1], topicOf(texts[2:last])
			ok = parts.Method != ""
		}
	case suffixMarker:
		if ok = last >= 3 && texts[last-1] == suffixRequest; ok {
			parts.Method, parts.Topic = texts[1], topicOf(texts[2:last-1])
		}
	default:
		ok = false
	}
	return parts, ok && parts.Service != ""
}

// PrefixOfName returns the prefix that a bus has added to a channel's name. It finds only prefixes
// whose last character never occurs unescaped in a channel name. It returns false if the rest of
// the name does not have the form of a channel name.
func PrefixOfName(name string) (prefix string, ok bool) {
	first, _, _ := strings.Cut(name, "|")
	end := strings.LastIndexFunc(first, func(r rune) bool { return needsEscape(r) && r != '+' })
	if end >= 0 {
		_, size := utf8.DecodeRuneInString(first[end:])
		end += size
	}
	prefix = first[:max(end, 0)]
	_, ok = parseName(name[len(prefix):], false)
	return prefix, ok
}

// PrefixOfSubject is like [PrefixOfName], but for subjects. It finds only prefixes that end with a
// character other than a letter, a digit or an underscore. queue has the same meaning as in
// [ParseSubject].
func PrefixOfSubject(subject string, queue bool) (prefix string, ok bool) {
	end := len(subject)
	for _, kind := range []string{"SRV.", "CLI.", "DYN."} {
		if i := strings.Index(subject, kind); i >= 0 {
			end = min(end, i)
		}
	}
	if prefix = subject[:end]; prefix != "" && !needsEscape(rune(prefix[end-1])) {
		return "", false
	}
	_, ok = ParseSubject(subject[end:], queue, false)
	return prefix, ok
}

// topicOf returns a copy of the parts of a topic, or nil if there are none.
func topicOf(parts []string) []string {
	if len(parts) == 0 {
		return nil
	}
	return slices.Clone(parts)
}

// ParseSubject parses the subject of a channel. subject must not contain the prefix of the bus.
// queue reports whether the subscription to the subject belongs to a queue group. perMethod reports
// whether each method has a subject of its own, which then ends with the routing key.
func ParseSubject(subject string, queue, perMethod bool) (parts ChannelParts, ok bool) {
	tokens := strings.Split(subject, ".")
	if len(tokens) < 2 || strings.ContainsAny(subject, "*>") || slices.Contains(tokens, "") {
		return ChannelParts{}, false
	}
	switch tokens[0] {
	case "SRV":
		return parseServerTokens(tokens[1:], queue, perMethod)
	case "CLI":
		parts, ok = parseNamedTokens(tokens[1:], suffixResponse, suffixClaimRequest, suffixStream, suffixPresence)
		parts.ClientID, parts.Address = parts.Address, ""
		return parts, ok
	case "DYN":
		return parsePrivateTokens(tokens[1:])
	default:
		return ChannelParts{}, false
	}
}

// parsePrivateTokens parses the tokens of a subject that only dynpsrpc peers use.
func parsePrivateTokens(tokens []string) (parts ChannelParts, ok bool) {
	switch {
	case len(tokens) > 2 && tokens[0] == "QUEUE" && tokens[1] == "SRV":
		parts, ok = parseServerTokens(tokens[2:], true, true)
		parts.Carries = carriesPrivate
		return parts, ok
	case len(tokens) == 2:
		parts = ChannelParts{Service: tokens[0], Carries: tokens[1]}
		return parts, slices.Contains([]string{suffixCancel, suffixDiscover, suffixPresence}, parts.Carries)
	default:
		return parseNamedTokens(tokens, suffixUnicast)
	}
}

// parseNamedTokens parses the tokens of a subject on which a single peer receives frames: the
// service, the address of the peer and one of the suffixes.
func parseNamedTokens(tokens []string, suffixes ...string) (parts ChannelParts, ok bool) {
	last := len(tokens) - 1
	if last < 2 || !slices.Contains(suffixes, tokens[last]) {
		return ChannelParts{}, false
	}
	return ChannelParts{Service: tokens[0], Address: strings.Join(tokens[1:last], "."), Carries: tokens[last]}, true
}

// parseServerTokens parses the tokens of a subject on which servers or subscribers receive frames.
func parseServerTokens(tokens []string, queue, perMethod bool) (parts ChannelParts, ok bool) {
	parts.Service, tokens = tokens[0], tokens[1:]
	if perMethod {
		if len(tokens) < 2 {
			return ChannelParts{}, false
		}
		parts.Method, parts.Carries = tokens[len(tokens)-2], tokens[len(tokens)-1]
		tokens = tokens[:len(tokens)-2]
		if !slices.Contains([]string{suffixRequest, suffixClaimResponse, suffixStream}, parts.Carries) {
			return ChannelParts{}, false
		}
	}
	if last := len(tokens) - 1; queue && last >= 0 && tokens[last] == "Q" {
		parts.Queue, parts.Carries, tokens = true, suffixRequest, tokens[:last]
	}
	for _, escaped := range tokens {
		part, ok := unescape(escaped)
		if !ok {
			return ChannelParts{}, false
		}
		parts.Topic = append(parts.Topic, part)
	}
	return parts, true
}

// unescape undoes sanitize. It returns false if sanitize cannot have returned s.
func unescape(s string) (string, bool) {
	if strings.IndexFunc(s, needsEscape) < 0 {
		return s, true
	}
	var clean strings.Builder
	for {
		before, rest, found := strings.Cut(s, "+")
		if !found {
			_, _ = clean.WriteString(before)
			return clean.String(), strings.IndexFunc(before, needsEscape) < 0
		}
		text, digits := "", 0
		if unescaped, isShort := strings.CutSuffix(before, "u"); isShort {
			text, digits = unescaped, 4
		} else if unescaped, isLong := strings.CutSuffix(before, "U"); isLong {
			text, digits = unescaped, 8
		}
		if digits == 0 || len(rest) < digits || strings.IndexFunc(text, needsEscape) >= 0 {
			return "", false
		}
		code, err := strconv.ParseUint(rest[:digits], 16, 31)
		if err != nil || !utf8.ValidRune(rune(code)) {
			return "", false
		}
		_, _ = clean.WriteString(text)
		_, _ = clean.WriteRune(rune(code))
		s = rest[digits:]
	}
}
