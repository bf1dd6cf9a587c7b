package dynamic

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

// The prefixes of IDs, which tell what an ID identifies. psrpc has the same.
const (
	ServerIDPrefix  = id.ServerPrefix
	ClientIDPrefix  = id.ClientPrefix
	RequestIDPrefix = id.RequestPrefix
	StreamIDPrefix  = id.StreamPrefix
)

// NewID returns a new random ID: the prefix followed by twelve random letters and digits. It is safe
// for concurrent use.
func NewID(prefix string) string { return id.New(prefix) }

// IDGenerator returns a new ID. prefix is one of the prefixes in this package, and tells what the
// ID is for. The ID need not begin with it. IDs must be unique on the bus, and must consist of
// ASCII letters, digits, underscores and hyphens. An ID of a server or client has at most 64
// characters, and an ID of a request or stream has exactly 16. An IDGenerator must be safe for
// concurrent use.
type IDGenerator func(prefix string) string

type idGeneratorOption IDGenerator

func (g idGeneratorOption) applyServer(o *serverOptions) { o.newID = IDGenerator(g) }
func (g idGeneratorOption) applyConn(o *connOptions)     { o.newID = IDGenerator(g) }

// WithIDGenerator sets the function that creates IDs: the ID of a server or conn, and the IDs of the
// requests and streams of a conn. By default, or if generate is nil, [NewID] creates them.
// [WithServerID] and [WithClientID] take precedence.
//
// If the ID of a server or conn is invalid, [Server.Register] or [NewConn] returns an error. If the
// ID of a request or stream is invalid, a random ID is used, and the conn logs an error, at most
// once a second. If an ID is not unique, calls may receive the responses of other calls.
func WithIDGenerator(generate IDGenerator) Option { return idGeneratorOption(generate) }

// maxGeneratedID is the maximum length of a generated ID of a server or client, in bytes.
const maxGeneratedID = 64

// ownID creates the ID of a server or conn for which the user has set none. It returns an error if
// the ID that generate returns is invalid.
func (generate IDGenerator) ownID(prefix string) (string, error) {
	if generate == nil {
		return NewID(prefix), nil
	}
	generated := generate(prefix)
	if len(generated) > maxGeneratedID || !isPlainID(generated) {
		return "", errors.NewErrorf(errors.InvalidArgument, "WithIDGenerator: the ID %.100q is not valid: "+
			"want 1 to %d letters, digits, underscores and hyphens", generated, maxGeneratedID)
	}
	return generated, nil
}

// isPlainID reports whether an ID consists of at least one letter, digit, underscore or hyphen, and
// of nothing else.
func isPlainID(generated string) bool {
	for _, c := range []byte(generated) {
		isLetter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !isLetter && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return generated != ""
}

// newRequestID returns the ID of a new request.
func (c *Conn) newRequestID() id.Call {
	if c.options.newID == nil {
		return id.NewRequest()
	}
	return c.generateID(RequestIDPrefix, id.NewRequest)
}

// newStreamID returns the ID of a new stream.
func (c *Conn) newStreamID() id.Call {
	if c.options.newID == nil {
		return id.NewStream()
	}
	return c.generateID(StreamIDPrefix, id.NewStream)
}

// idLogInterval is the minimum time between two log lines about invalid IDs.
const idLogInterval = time.Second

// generateID returns an ID from the generator of the conn. If that ID is invalid, generateID logs
// an error and returns a random ID.
func (c *Conn) generateID(prefix string, random func() id.Call) id.Call {
	generated := c.options.newID(prefix)
	if callID, ok := id.ParseCall([]byte(generated)); ok && isPlainID(generated) {
		return callID
	}
	if count, ok := c.idLog.Allow(idLogInterval); ok {
		c.options.logger.Error("dynpsrpc: the ID generator has returned an invalid ID; a random one is used",
			slog.String("id", transport.Shorten(generated, maxLoggedName)), slog.String("prefix", prefix), slog.Uint64("ids", count))
	}
	return random()
}
