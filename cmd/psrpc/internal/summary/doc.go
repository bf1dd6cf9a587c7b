// Package summary turns the answers of a fleet's servers into what the command line shows. It finds
// the services that the servers serve together. It also computes how much services, methods and
// servers were used between two answers.
package summary
