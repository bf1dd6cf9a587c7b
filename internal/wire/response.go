package wire

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	responseTagRequestID   = 1<<wireTypeBits | wireBytes
	responseTagServerID    = 2<<wireTypeBits | wireBytes
	responseTagSentAt      = 3<<wireTypeBits | wireVarint
	responseTagError       = 5<<wireTypeBits | wireBytes
	responseTagCode        = 6<<wireTypeBits | wireBytes
	responseTagBody        = 7<<wireTypeBits | wireBytes
	responseTagDetails     = 8<<wireTypeBits | wireBytes
	responseTagSubscribers = 1000<<wireTypeBits | wireVarint
	responseTagUnprocessed = 1001<<wireTypeBits | wireVarint
	responseTagServedIn    = 1002<<wireTypeBits | wireVarint
)

// Response is the result of a request. The server sends it to the client.
type Response struct {
	// RequestID is the ID of the request.
	RequestID []byte
	// ServerID is the ID of the server that handled the request.
	ServerID []byte
	// SentAt is a Unix time in nanoseconds, according to the server's clock.
	SentAt int64
	// Error is the text of the error. Receivers treat a response with an empty Error as a success,
	// regardless of Code. Invalid UTF-8 in Error and Code is replaced during encoding, so that the
	// error still reaches the caller.
	Error string
	// Code is the error code. It is usually one of the codes in package errors, but any text is
	// valid.
	Code string
	// Details contains the details of the error. Parsed details do not alias the frame.
	Details []*anypb.Any
	// Body is the user's response message.
	Body Body
	// Subscribers is the number of servers, including this one, that the bus counts as a single
	// receiver of the request because they share a connection. Zero means 1.
	Subscribers uint32
	// Unprocessed reports whether the server rejected the request before doing any work for it.
	Unprocessed bool
	// ServedIn is the time from the moment when the server has read the request until this
	// response, in microseconds. It is zero if the response does not contain that time. Only
	// dynpsrpc servers send it, for requests to queue methods on a [UnicastChannel].
	ServedIn uint32

	// encoded is the encoded response if it has details that have not been decoded yet. Otherwise,
	// encoded is nil.
	encoded []byte
}

// ParseResponse decodes the value of an envelope of kind [KindResponse].
func ParseResponse(value []byte) (Response, error) {
	res, err := ParseUnawaitedResponse(value)
	if err == nil {
		err = res.DecodeDetails()
	}
	if err != nil {
		return Response{}, err
	}
	return res, nil
}

// ParseUnawaitedResponse is like ParseResponse, but does not decode the error details; call
// DecodeDetails to decode them. Decoding the details takes longer than decoding the rest, and any
// peer can send a response. The details should therefore be decoded only if a call is waiting for
// the response.
func ParseUnawaitedResponse(value []byte) (res Response, err error) {
	var errorText, code []byte
	r := reader{rest: value}
	for r.next() {
		switch r.tag {
		case responseTagRequestID:
			res.RequestID = r.text()
		case responseTagServerID:
			res.ServerID = r.text()
		case responseTagSentAt:
			res.SentAt = int64(r.number)
		case responseTagError:
			errorText = r.text()
		case responseTagCode:
			code = r.text()
		case responseTagBody:
			res.Body.Raw = r.bytes
		case responseTagDetails:
			r.checkDetail()
			res.encoded = value
		case responseTagSubscribers:
			res.Subscribers = uint32(r.number)
		case responseTagUnprocessed:
			res.Unprocessed = protowire.DecodeBool(r.number)
		case responseTagServedIn:
			res.ServedIn = uint32(r.number)
		}
	}
	if r.err != nil {
		return Response{}, r.err
	}
	res.Error, res.Code = string(errorText), string(code)
	return res, nil
}

// DecodeDetails decodes the error details of a response returned by ParseUnawaitedResponse. It
// returns an error if a detail is malformed. It is not safe for concurrent use.
func (res *Response) DecodeDetails() error {
	r := reader{rest: res.encoded}
	for r.next() {
		if r.tag == responseTagDetails {
			res.Details = r.appendDetail(res.Details)
		}
	}
	res.encoded = nil
	return r.err
}

// AppendFrame appends the encoded frame of res to dst. If an ID is not valid UTF-8, or if the body
// or a detail cannot be encoded, it returns dst unchanged and an error.
func (res *Response) AppendFrame(dst []byte) ([]byte, error) {
	if !validText(res.RequestID, res.ServerID) {
		return dst, errInvalidText
	}
	sentAt, subscribers, unprocessed := uint64(res.SentAt), uint64(res.Subscribers), protowire.EncodeBool(res.Unprocessed)
	servedIn := uint64(res.ServedIn)
	errorText, code := toValidUTF8(res.Error), toValidUTF8(res.Code)
	bodySize := res.Body.size()
	size := sizeBytes(responseTagRequestID, len(res.RequestID)) +
		sizeBytes(responseTagServerID, len(res.ServerID)) +
		sizeVarint(responseTagSentAt, sentAt) +
		sizeBytes(responseTagError, len(errorText)) +
		sizeBytes(responseTagCode, len(code)) +
		sizeBytes(responseTagBody, bodySize) +
		sizeDetails(responseTagDetails, res.Details) +
		sizeVarint(responseTagSubscribers, subscribers) +
		sizeVarint(responseTagUnprocessed, unprocessed) +
		sizeVarint(responseTagServedIn, servedIn)

	frame := beginFrame(dst, responseName, size, 0)
	frame = appendBytes(frame, responseTagRequestID, res.RequestID)
	frame = appendBytes(frame, responseTagServerID, res.ServerID)
	frame = appendVarint(frame, responseTagSentAt, sentAt)
	frame = appendBytes(frame, responseTagError, errorText)
	frame = appendBytes(frame, responseTagCode, code)
	frame, err := appendBodyField(frame, responseTagBody, res.Body, bodySize)
	if err != nil {
		return dst, err
	}
	if frame, err = appendDetails(frame, responseTagDetails, res.Details); err != nil {
		return dst, err
	}
	frame = appendVarint(frame, responseTagSubscribers, subscribers)
	frame = appendVarint(frame, responseTagUnprocessed, unprocessed)
	return appendVarint(frame, responseTagServedIn, servedIn), nil
}

// toValidUTF8 returns text with any invalid UTF-8 replaced by U+FFFD.
func toValidUTF8(text string) string {
	return strings.ToValidUTF8(text, string(utf8.RuneError))
}
