package summary

import "github.com/dynpsrpc/dynpsrpc/dynamic/fleet"

// StatusOf returns the health of a service on a server. If the server is not serving, that is the
// status of the server. Otherwise, it is the status that the program has set for the service, if
// any. If service is empty, StatusOf returns a status other than serving if the server or one of
// its services has one.
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
