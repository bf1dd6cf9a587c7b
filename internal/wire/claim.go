package wire

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	claimTagRequestID   = 1<<wireTypeBits | wireBytes
	claimTagServerID    = 2<<wireTypeBits | wireBytes
	claimTagAffinity    = 3<<wireTypeBits | wireFixed32
	claimTagHandling    = 4<<wireTypeBits | wireVarint
	claimTagDeclined    = 1000<<wireTypeBits | wireVarint
	claimTagSubscribers = 1001<<wireTypeBits | wireVarint
)

// ClaimRequest is sent by a server to the client. It has one of three meanings: the server offers
// to handle a request (a claim), is already handling the request (an announcement), or refuses to
// handle the request (a declined claim).
type ClaimRequest struct {
	// RequestID is the ID of the request.
	RequestID []byte
	// ServerID is the ID of the server that claims or declines the request.
	ServerID []byte
	// Affinity rates how well the server suits the request. If a client waits for several claims,
	// it selects the server with the highest affinity by default.
	Affinity float32
	// Handling reports whether the server handles the request without waiting for the client to
	// select a server. psrpc introduced this field in v0.7.4.
	Handling bool
	// Declined reports whether the server refuses to handle the request. dynpsrpc servers send
	// declined claims only to clients that set [Request.AcceptDecline], because other clients would
	// mistake them for claims.
	Declined bool
	// Subscribers is the number of servers, including this one, that the bus counts as a single
	// receiver of the request because they share a connection. Zero means 1.
	Subscribers uint32
}

// ClaimResponse announces which server the client has selected. The client sends it to all servers
// of the method.
type ClaimResponse struct {
	// RequestID is the ID of the request.
	RequestID []byte
	// ServerID is the ID of the selected server.
	ServerID []byte
}

// ParseClaimRequest decodes the value of an envelope of kind [KindClaimRequest].
func ParseClaimRequest(value []byte) (claim ClaimRequest, err error) {
	r := reader{rest: value}
	for r.next() {
		switch r.tag {
		case claimTagRequestID:
			claim.RequestID = r.text()
		case claimTagServerID:
			claim.ServerID = r.text()
		case claimTagAffinity:
			claim.Affinity = math.Float32frombits(uint32(r.number))
		case claimTagHandling:
			claim.Handling = protowire.DecodeBool(r.number)
		case claimTagDeclined:
			claim.Declined = protowire.DecodeBool(r.number)
		case claimTagSubscribers:
			claim.Subscribers = uint32(r.number)
		}
	}
	if r.err != nil {
		return ClaimRequest{}, r.err
	}
	return claim, nil
}

// ParseClaimResponse decodes the value of an envelope of kind [KindClaimResponse].
func ParseClaimResponse(value []byte) (ClaimResponse, error) {
	claim, err := ParseClaimRequest(value)
	return ClaimResponse{RequestID: claim.RequestID, ServerID: claim.ServerID}, err
}

// AppendFrame appends the encoded frame of c to dst. If the request ID or server ID is not valid
// UTF-8, it returns dst unchanged and an error.
func (c *ClaimRequest) AppendFrame(dst []byte) ([]byte, error) {
	return c.appendFrame(dst, claimRequestName)
}

// AppendFrame appends the encoded frame of c to dst. If the request ID or server ID is not valid
// UTF-8, it returns dst unchanged and an error.
func (c *ClaimResponse) AppendFrame(dst []byte) ([]byte, error) {
	claim := ClaimRequest{RequestID: c.RequestID, ServerID: c.ServerID}
	return claim.appendFrame(dst, claimResponseName)
}

// appendFrame encodes c as a message of type typeName. ClaimResponse uses it too, because its two
// fields are identical to the first two fields of a ClaimRequest.
func (c *ClaimRequest) appendFrame(dst []byte, typeName string) ([]byte, error) {
	if !validText(c.RequestID, c.ServerID) {
		return dst, errInvalidText
	}
	handling, declined := protowire.EncodeBool(c.Handling), protowire.EncodeBool(c.Declined)
	subscribers := uint64(c.Subscribers)
	size := sizeBytes(claimTagRequestID, len(c.RequestID)) +
		sizeBytes(claimTagServerID, len(c.ServerID)) +
		sizeVarint(claimTagHandling, handling) +
		sizeVarint(claimTagDeclined, declined) +
		sizeVarint(claimTagSubscribers, subscribers)
	// Compare the bits, because proto3 omits a value of 0, but not a value of -0.
	affinity := math.Float32bits(c.Affinity)
	if affinity != 0 {
		size += protowire.SizeVarint(claimTagAffinity) + protowire.SizeFixed32()
	}

	frame := beginFrame(dst, typeName, size, 0)
	frame = appendBytes(frame, claimTagRequestID, c.RequestID)
	frame = appendBytes(frame, claimTagServerID, c.ServerID)
	if affinity != 0 {
		frame = protowire.AppendFixed32(protowire.AppendVarint(frame, claimTagAffinity), affinity)
	}
	frame = appendVarint(frame, claimTagHandling, handling)
	frame = appendVarint(frame, claimTagDeclined, declined)
	return appendVarint(frame, claimTagSubscribers, subscribers), nil
}
