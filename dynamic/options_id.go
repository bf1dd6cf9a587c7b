package dynamic

import (
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

// The prefix of an ID shows what the ID identifies. psrpc uses the same prefixes.
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

// maxGeneratedID is the maximum length of a generated ID of a server or client, in bytes.
const maxGeneratedID = 64

// ownID creates the ID of a server or conn for which the user has set none. It returns an error if
// the ID that generate returns is invalid.
func (generate IDGenerator) ownID(prefix string) (string, error) {
	if generate == nil {
		return NewID(prefix), nil
	}
	generated := generate(prefix)
	if len(generated) > maxGeneratedID || !id.IsPlain(generated) {
		return "", errors.NewErrorf(errors.InvalidArgument, "WithIDGenerator: the ID %.100q is not valid: "+
			"want 1 to %d letters, digits, underscores and hyphens", generated, maxGeneratedID)
	}
	return generated, nil
}
