// Package natsmicro shows the services of a server to the tools of NATS micro services. Examples
// are the commands "nats micro ls", "info", "stats" and "ping" of the NATS command line.
//
//	status, err := fleet.Serve(server)
//	responder, err := natsmicro.Serve(nc, status)
//	defer responder.Close()
//
// The server itself may use any bus: nc is needed only to answer those tools. They can look at the
// services but not call them, because a request on the bus is a frame and not just a message.
//
// Each service of the server is a micro service of its own, with these properties:
//
//	name         the name of the service on the bus
//	id           the ID of the server
//	version      the version of the app if it is a semantic version, else 0.0.0
//	description  the full name of the service
//	endpoints    the methods, with the NATS subjects of their requests
//	metadata     app, software, digest of the descriptors, labels of the server; for an endpoint,
//	             its kind and routing
//	stats        the counters of the methods, and in the field data the percentiles of the durations
//
// Every client that may publish to the subjects of NATS micro gets an answer. The function of
// fleet.WithAuthorize is not called.
//
// In names and IDs, characters that NATS micro does not permit are replaced by underscores.
package natsmicro
