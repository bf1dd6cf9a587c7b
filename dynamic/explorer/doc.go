// Package explorer serves web pages that show a fleet and call its methods. An [Explorer] is an
// http.Handler. Its pages are embedded in the program; they need neither a build step nor the
// internet.
//
//	f, err := fleet.New(conn)
//	gw, err := gateway.New(conn, reg, gateway.WithMethods("*/*"))
//	pages, err := explorer.New(f, gw)
//	server := gateway.Server(pages)
//	server.Addr = "127.0.0.1:8324"
//	fmt.Println(pages.LoginURL("http://" + server.Addr))
//	err = server.ListenAndServe()
//
// The explorer polls the fleet only while a page is open. One poll serves all pages.
//
// # Security
//
// Everyone who opens the link that [Explorer.LoginURL] returns can do everything that the pages
// can: call methods, watch servers, and drain those that permit it. The link contains a random
// token, which the explorer exchanges for a cookie. [WithAuthorize] replaces the token. Requests
// from web pages of other sites, and requests whose Host is not a name of this machine, are
// refused; see [WithHosts]. With [WithReadOnly], the pages change nothing and call only methods
// without side effects.
//
// # Routes
//
// The pages are at "/" and below "/assets/". Requests below "/rpc/" go to the gateway, without this
// prefix. The paths below "/api/" are for the pages of this package and may change:
//
//	GET  /api/session                        the explorer, the bus and its broker
//	GET  /api/fleet                          services, servers and clients
//	GET  /api/fleet/events                   SSE: fleet, change, problem
//	GET  /api/services/{name}                versions, methods and peers of a service
//	GET  /api/services/{name}/schema         messages and enums
//	GET  /api/services/{name}/descriptors.binpb
//	GET  /api/services/{name}/proto          the .proto files as one text
//	GET  /api/servers/{id}                   all information about a server
//	POST /api/servers/{id}/drain             also resume, log-level {level}, reload-plugin {name}
//	POST /api/who                            which servers would take a request
//	GET  /api/topology                       nodes and edges
//	GET  /api/topology/events                SSE: topology, change, problem
//	GET  /api/tap?server=&method=&filter=&rate=
//	                                         SSE: open, frame, lost, end
//	GET  /api/doctor                         the result of the function of [WithDoctor]
//	POST /api/check-filter                   {filter}: {} or an error with line and column
//
// Names in JSON are in camel case, times are as in RFC 3339, and durations are numbers of seconds.
// Unknown values are null or missing. The field rate contains the ended calls per second, and
// errors the failed calls per second. The field errorRate is the fraction of failed calls, from 0
// to 1. All three cover the time since the previous poll. An error is {"code", "message"} with the
// HTTP status of the code. POST requests need the header "X-Psrpc-Explorer: 1" and a body of type
// application/json.
//
// In a WebSocket below "/rpc/", query parameters such as "header=Psrpc-Meta-user:ada" become headers
// of the gateway.
//
// The name of a service in a path is its full name or its name on the bus. The first event "fleet"
// has the form of /api/fleet, contains everything and has "whole": true. Later ones contain only
// changes: changed servers, the IDs of "gone" servers, and each of the lists of services and
// clients in which an entry has changed. A page that has the response of /api/fleet passes its "at"
// as the parameter "since". If that state is recent, the page gets only changes. The event "change"
// is a change that a server has reported: {at, server, kind, service, digest, status, text}. The
// event "problem" contains an error, for example because the bus is down. It ends with the next
// event "fleet" or "topology".
//
// A row of the kind "psrpc" or "silent" among the servers stands for servers whose IDs are not
// known. Its field "count" contains their number, and "services" the service that they serve.
package explorer
