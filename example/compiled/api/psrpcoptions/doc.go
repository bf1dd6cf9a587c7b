// Package psrpcoptions contains the psrpc method options as generated Go code.
package psrpcoptions
