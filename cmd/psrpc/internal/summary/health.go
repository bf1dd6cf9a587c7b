package summary

import "github.com/dynpsrpc/dynpsrpc/dynamic/fleet"

// StatusOf returns the health of a service on a server. If the server itself is not serving,
// StatusOf returns the status of the server. Otherwise, it returns the status that the program has
// set for the service, if any. If service is empty, the result is serving only if the server and
// all of its services are serving.
func StatusOf(server *fleet.Server, service string) fleet.ServingStatus {
	health := server.Health
	if service != "" {
		if status, ok := health.Services[service]; ok && health.Status == fleet.StatusServing {
			return status
		}
		return health.Status
	}
	worst := health.Status
	for _, status := range health.Services {
		if worst == fleet.StatusServing || status == fleet.StatusNotServing {
			worst = status
		}
	}
	return worst
}
