// Package logthrottle limits how often a problem is logged or reported as an event. Without a
// limit, an outage or a misbehaving peer could flood the log.
package logthrottle
