// Package fleetmetrics measures a fleet for a monitoring system. What it measures cannot be seen
// from a single server: the number of servers, silent servers, differences of clocks, and services
// that run in several versions.
//
//	dynpsrpc.fleet.servers               servers by dynpsrpc.state: starting, serving, draining, refused
//	dynpsrpc.fleet.silent_servers        servers that received a discovery request without answering it
//	dynpsrpc.fleet.clock_offset       s  largest difference between a server's clock and that of this machine
//	dynpsrpc.fleet.service.servers       servers of a service
//	dynpsrpc.fleet.service.versions      versions of the descriptors of a service
//
// The state refused stands for servers that refuse to answer. The last two instruments have the
// attribute dynpsrpc.service, which is the name of the service on the bus. The other values are NaN
// if they are not known.
package fleetmetrics
