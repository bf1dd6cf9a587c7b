// Package logthrottle limits how often a problem is logged or reported as an event, so that neither
// an outage nor a peer can flood the log. It imports nothing of this module.
package logthrottle
