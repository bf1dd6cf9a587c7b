package wire

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	claimTagRequestID   = 1<<wireTypeBits | wireBytes
	claimTagServerID    = 2<<wireTypeBits | wireBytes
	claimTagAffinity    = 3<<wireTypeBits | wireFixed32
	claimTagDeclined    = 1000<<wireTypeBits | wireVarint
	claimTagSubscribers = 1001<<wireTypeBits | wireVarint
)

// ClaimRequest is a server's offer to take a request: the claim, or its word
// that it does not take it. It travels from the server to the client.
type ClaimRequest struct {
	// RequestID is that of the request.
	RequestID []byte
	// ServerID names the server that offers itself, or declines.
	ServerID []byte
	// Affinity says how well the server suits; the client chooses by it.
	Affinity float32
	// Declined says that the server does not take the request. Only our peers
	// send it, and only to a client that set AcceptDecline: any other would take
	// it for a claim.
	Declined bool
	// Subscribers is how many servers, this one included, the bus counts as one
	// receiver of the request. 0 says the same as 1.
	Subscribers uint32
}

// ClaimResponse tells all servers of a method whose claim was chosen. It
// travels from the client to the servers.
type ClaimResponse struct {
	// RequestID is that of the request.
	RequestID []byte
	// ServerID names the server that shall take the request.
	ServerID []byte
}

// ParseClaimRequest decodes the value of an envelope of KindClaimRequest.
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

// ParseClaimResponse decodes the value of an envelope of KindClaimResponse.
func ParseClaimResponse(value []byte) (ClaimResponse, error) {
	claim, err := ParseClaimRequest(value)
	return ClaimResponse{RequestID: claim.RequestID, ServerID: claim.ServerID}, err
}

// AppendFrame appends to dst a frame that holds the claim. It returns dst as
// it was and an error if an id is not UTF-8.
func (c *ClaimRequest) AppendFrame(dst []byte) ([]byte, error) {
	return c.appendFrame(dst, claimRequestName)
}

// AppendFrame appends to dst a frame that holds the choice. It returns dst as
// it was and an error if an id is not UTF-8.
func (c *ClaimResponse) AppendFrame(dst []byte) ([]byte, error) {
	claim := ClaimRequest{RequestID: c.RequestID, ServerID: c.ServerID}
	return claim.appendFrame(dst, claimResponseName)
}

// appendFrame serves both messages: a choice is a claim that has ids only.
func (c *ClaimRequest) appendFrame(dst []byte, typeName string) ([]byte, error) {
	if !validText(c.RequestID, c.ServerID) {
		return dst, errInvalidText
	}
	declined, subscribers := protowire.EncodeBool(c.Declined), uint64(c.Subscribers)
	size := sizeBytes(claimTagRequestID, len(c.RequestID)) +
		sizeBytes(claimTagServerID, len(c.ServerID)) +
		sizeVarint(claimTagDeclined, declined) +
		sizeVarint(claimTagSubscribers, subscribers)
	affinity := math.Float32bits(c.Affinity) // -0 and NaN are not the default: their bits are not zero
	if affinity != 0 {
		size += protowire.SizeVarint(claimTagAffinity) + protowire.SizeFixed32()
	}

	frame := beginFrame(dst, typeName, size, 0)
	frame = appendBytes(frame, claimTagRequestID, c.RequestID)
	frame = appendBytes(frame, claimTagServerID, c.ServerID)
	if affinity != 0 {
		frame = protowire.AppendFixed32(protowire.AppendVarint(frame, claimTagAffinity), affinity)
	}
	frame = appendVarint(frame, claimTagDeclined, declined)
	return appendVarint(frame, claimTagSubscribers, subscribers), nil
}
