// Package redact removes the values of secret fields from messages.
package redact
