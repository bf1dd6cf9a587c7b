// Package psrpcoptions holds the psrpc method options as generated Go code.
package psrpcoptions
