package redisbus

import (
	"strings"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// repeatedArguments is the text that precedes the arguments of an unknown command in Redis's error
// reply. AUTH and HELLO may be unknown, because a server can rename commands.
const repeatedArguments = ", with args beginning with:"

// withoutArguments removes the arguments of the failed command from an error of a handshake,
// because a password may be among them.
func withoutArguments(err error) error {
	if err == nil {
		return nil
	}
	before, _, found := strings.Cut(err.Error(), repeatedArguments)
	if !found {
		return err
	}
	return errors.New(before + ": the server does not know the command with which a client authenticates itself")
}
