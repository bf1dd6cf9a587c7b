// Package summary computes what the command line shows from the answers of a fleet's servers: the
// services that they serve together, and the load of services, methods and servers between two
// answers.
package summary
