// Package tapfilter selects the events of a tap with expressions in the Common Expression Language
// (CEL), for example:
//
//	duration > duration("50ms") || code != ""
//	method.endsWith("/Pay") && message.amount > 100
//
// A server evaluates the filters of its clients if this package is passed to fleet.WithTap:
//
//	fleet.Serve(server, fleet.WithAuthorize(authorize), fleet.WithTap(fleet.Filters(tapfilter.Compile)))
//
// It is a separate package so that programs without filters do not have to link CEL.
//
// # Variables
//
// An expression has type bool and can use these variables:
//
//	at          timestamp   the time of the event
//	kind        string      for example "request"; see fleet.TapKind
//	method      string      the name on the bus, for example "Orders/Pay"
//	topic       list        of strings
//	client_id   string
//	request_id  string
//	duration    time span   of a call or stream, as CEL's duration; 0 for events at its beginning
//	code        string      the error code, or "" if there is no error
//	affinity    double
//	metadata    map         from strings to strings; only the keys that the server allows
//	message     map         the message with the names of its fields as in the .proto file, or null
//
// The functions contains, startsWith and endsWith are permitted. The function matches is not,
// because a regular expression may take too long. An evaluation that takes too long does not select
// the event.
//
// In a message, fields that are not set have their default values, and enums are numbers. Secret
// fields are redacted before the filter runs, so that a filter cannot find out their values.
package tapfilter
