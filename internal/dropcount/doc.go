// Package dropcount counts the frames that a bus drops, by reason.
package dropcount
