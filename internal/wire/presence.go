package wire

import "github.com/dynpsrpc/dynpsrpc/errors"

const (
	discoverTagClientID = 1<<wireTypeBits | wireBytes
	discoverTagChannel  = 2<<wireTypeBits | wireBytes
	discoverTagAnswered = 3<<wireTypeBits | wireBytes

	presenceTagServerID = 1<<wireTypeBits | wireBytes
	presenceTagState    = 2<<wireTypeBits | wireVarint
	presenceTagChannel  = 3<<wireTypeBits | wireBytes
	presenceTagAddress  = 4<<wireTypeBits | wireBytes
	presenceTagReceiver = 5<<wireTypeBits | wireBytes
	presenceTagMembers  = 6<<wireTypeBits | wireVarint
	presenceTagService  = 7<<wireTypeBits | wireBytes
)

// maxPresenceChannels is the maximum number of channels in a [Presence] that ParsePresence accepts.
const maxPresenceChannels = 10_000

// maxAddress is the maximum length, in bytes, of the Address, the Receiver and the Service of a
// [Presence] that ParsePresence accepts. The length is limited because clients and servers store
// the Address and the Receiver of every server they know.
const maxAddress = 256

// MaxAnswered is the maximum number of addresses in a [Discover] that ParseDiscover accepts.
const MaxAnswered = 256

var (
	errTooManyAnswered = errors.NewErrorf(errors.MalformedRequest, "discover has more than %d addresses", MaxAnswered)
	errTooManyChannels = errors.NewErrorf(errors.MalformedRequest, "presence has more than %d channels", maxPresenceChannels)
	errLongAddress     = errors.NewErrorf(errors.MalformedRequest, "presence has an address or name of more than %d bytes", maxAddress)
)

// Discover is a discovery request. It asks which servers of a service receive requests on the
// channel named in Channel. The client publishes it on [DiscoverChannel] to ask all servers, or on
// [UnicastChannel] to ask a single one. Each server that receives requests on the named channel
// responds with a [Presence] on [PresenceClientChannel]. psrpc has no equivalent message.
type Discover struct {
	// ClientID is the ID of the client that sends the discovery request.
	ClientID []byte
	// Channel is the name of a request channel, see [RequestChannel].
	Channel []byte
	// Answered is empty in a first request. If fewer servers respond than a server has reported
	// (see [Presence.Members]), the client sends a second request. Its field Answered contains the
	// addresses of the servers that have responded. Only the server with the first of these
	// addresses handles the second request. It sends a discovery request to each server that it
	// knows on the channel and whose address is not in Answered. If such a server is gone, it
	// notifies all clients and servers.
	Answered [][]byte
}

// ParseDiscover decodes the value of an envelope of kind [KindDiscover].
func ParseDiscover(value []byte) (d Discover, err error) {
	r := reader{rest: value}
	for r.next() {
		switch r.tag {
		case discoverTagClientID:
			d.ClientID = r.text()
		case discoverTagChannel:
			d.Channel = r.text()
		case discoverTagAnswered:
			if len(d.Answered) == MaxAnswered {
				return Discover{}, errTooManyAnswered
			}
			d.Answered = append(d.Answered, r.text())
		}
	}
	if r.err != nil {
		return Discover{}, r.err
	}
	return d, nil
}

// AppendFrame appends the encoded frame of d to dst. If a field is not valid UTF-8, it returns dst
// unchanged and an error.
func (d *Discover) AppendFrame(dst []byte) ([]byte, error) {
	if !validText(d.ClientID, d.Channel) || !validText(d.Answered...) {
		return dst, errInvalidText
	}
	size := sizeBytes(discoverTagClientID, len(d.ClientID)) + sizeBytes(discoverTagChannel, len(d.Channel)) +
		sizeRepeated(discoverTagAnswered, d.Answered)
	frame := beginFrame(dst, discoverName, size, 0)
	frame = appendBytes(frame, discoverTagClientID, d.ClientID)
	frame = appendBytes(frame, discoverTagChannel, d.Channel)
	return appendRepeated(frame, discoverTagAnswered, d.Answered), nil
}

// PresenceState tells clients whether a server receives the requests that are sent on a channel,
// and whether it may still respond to earlier ones.
type PresenceState uint64

// The states of a server, in chronological order.
const (
	// PresenceServing means that the server receives requests on the channel.
	PresenceServing PresenceState = iota
	// PresenceDraining means that the server no longer receives requests on the channel, but may
	// still respond to those that it has received.
	PresenceDraining
	// PresenceLeft means that the server has sent all of its responses.
	PresenceLeft
)

// Presence tells clients the state of a server on some channels. When the state changes, the server
// publishes a Presence on the channel returned by [PresenceChannel]. The server also sends one to a
// single client in response to a [Discover] message.
type Presence struct {
	// ServerID is the ID of the server. It is empty if another server has found that the server at
	// Address is gone.
	ServerID []byte
	// State is the state of the server on all of the Channels. Clients ignore frames with an
	// unknown state.
	State PresenceState
	// Channels contains the names of request channels, see [RequestChannel].
	Channels [][]byte
	// Address identifies the channel on which this server alone receives requests, see
	// [UnicastChannel]. Unlike ServerID, it is always unique, even among servers that run one after
	// the other. It is empty if the server has no such channel.
	Address []byte
	// Receiver identifies the connection to the bus that the server uses. The bus counts servers
	// with the same Receiver as one receiver. It is empty if the bus does not count receivers.
	Receiver []byte
	// Members is the number of servers, including this one, that receive the requests on the
	// channel as far as this server knows. It is zero if the server does not know the number, and
	// in messages to all clients.
	Members uint32
	// Service is the full name of the service in its descriptor. Two services with the same name on
	// the bus may have different full names. It is empty if the full name is longer than 256 bytes.
	Service []byte
}

// ParsePresence decodes the value of an envelope of kind [KindPresence].
func ParsePresence(value []byte) (p Presence, err error) {
	r := reader{rest: value}
	for r.next() {
		switch r.tag {
		case presenceTagServerID:
			p.ServerID = r.text()
		case presenceTagState:
			p.State = PresenceState(r.number)
		case presenceTagChannel:
			if len(p.Channels) == maxPresenceChannels {
				return Presence{}, errTooManyChannels
			}
			p.Channels = append(p.Channels, r.text())
		case presenceTagAddress:
			p.Address = r.text()
		case presenceTagReceiver:
			p.Receiver = r.text()
		case presenceTagMembers:
			p.Members = uint32(r.number)
		case presenceTagService:
			p.Service = r.text()
		}
	}
	if r.err != nil {
		return Presence{}, r.err
	}
	if len(p.Address) > maxAddress || len(p.Receiver) > maxAddress || len(p.Service) > maxAddress {
		return Presence{}, errLongAddress
	}
	return p, nil
}

// AppendFrame appends the encoded frame of p to dst. If a text field is not valid UTF-8, it returns
// dst unchanged and an error.
func (p *Presence) AppendFrame(dst []byte) ([]byte, error) {
	service := p.Service
	if len(service) > maxAddress {
		service = nil
	}
	if !validText(p.ServerID, p.Address, p.Receiver, service) || !validText(p.Channels...) {
		return dst, errInvalidText
	}
	size := sizeBytes(presenceTagServerID, len(p.ServerID)) + sizeVarint(presenceTagState, uint64(p.State)) +
		sizeRepeated(presenceTagChannel, p.Channels)
	size += sizeBytes(presenceTagAddress, len(p.Address)) + sizeBytes(presenceTagReceiver, len(p.Receiver)) +
		sizeVarint(presenceTagMembers, uint64(p.Members)) + sizeBytes(presenceTagService, len(service))
	frame := beginFrame(dst, presenceName, size, 0)
	frame = appendBytes(frame, presenceTagServerID, p.ServerID)
	frame = appendVarint(frame, presenceTagState, uint64(p.State))
	frame = appendRepeated(frame, presenceTagChannel, p.Channels)
	frame = appendBytes(frame, presenceTagAddress, p.Address)
	frame = appendBytes(frame, presenceTagReceiver, p.Receiver)
	frame = appendVarint(frame, presenceTagMembers, uint64(p.Members))
	return appendBytes(frame, presenceTagService, service), nil
}

// sizeRepeated returns the encoded size of a repeated field. Unlike other fields, its values are
// encoded even if they are empty.
func sizeRepeated(tag uint64, values [][]byte) (size int) {
	for _, value := range values {
		size += sizeLengthDelimited(tag, len(value))
	}
	return size
}

// appendRepeated appends a repeated field to dst.
func appendRepeated(dst []byte, tag uint64, values [][]byte) []byte {
	for _, value := range values {
		dst = append(appendTagAndLength(dst, tag, len(value)), value...)
	}
	return dst
}
