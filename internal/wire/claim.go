package wire

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	claimTagRequestID = 1<<wireTypeBits | wireBytes
	claimTagServerID  = 2<<wireTypeBits | wireBytes
	claimTagAffinity  = 3<<wireTypeBits | wireFixed32
)

// ClaimRequest is a server's offer to take a request: the claim. It travels
// from the server to the client.
type ClaimRequest struct {
	// RequestID is that of the request.
	RequestID []byte
	// ServerID names the server that offers itself.
	ServerID []byte
	// Affinity says how well the server suits; the client chooses by it.
	Affinity float32
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
func ParseClaimRequest(value []byte) (ClaimRequest, error) {
	var claim ClaimRequest
	r := reader{rest: value}
	for r.next() {
		switch r.tag {
		case claimTagRequestID:
			claim.RequestID = r.text()
		case claimTagServerID:
			claim.ServerID = r.text()
		case claimTagAffinity:
			claim.Affinity = math.Float32frombits(uint32(r.number))
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
	return appendClaim(dst, claimRequestName, c.RequestID, c.ServerID, c.Affinity)
}

// AppendFrame appends to dst a frame that holds the choice. It returns dst as
// it was and an error if an id is not UTF-8.
func (c *ClaimResponse) AppendFrame(dst []byte) ([]byte, error) {
	return appendClaim(dst, claimResponseName, c.RequestID, c.ServerID, 0)
}

// appendClaim serves both messages: they differ in the affinity only.
func appendClaim(dst []byte, typeName string, requestID, serverID []byte, affinity float32) ([]byte, error) {
	if !validText(requestID, serverID) {
		return dst, errEncodeText
	}
	size := sizeBytes(claimTagRequestID, len(requestID)) + sizeBytes(claimTagServerID, len(serverID))
	bits := math.Float32bits(affinity) // -0 and NaN are not the default: their bits are not zero
	if bits != 0 {
		size += protowire.SizeVarint(claimTagAffinity) + protowire.SizeFixed32()
	}

	frame := beginFrame(dst, typeName, size, 0)
	frame = appendBytes(frame, claimTagRequestID, requestID)
	frame = appendBytes(frame, claimTagServerID, serverID)
	if bits != 0 {
		frame = protowire.AppendFixed32(protowire.AppendVarint(frame, claimTagAffinity), bits)
	}
	return frame, nil
}
