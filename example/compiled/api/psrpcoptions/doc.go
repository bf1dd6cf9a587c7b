// Package psrpcoptions is the Go form of the psrpc method options.
package psrpcoptions
