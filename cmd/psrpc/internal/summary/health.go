package summary

import "github.com/dynpsrpc/dynpsrpc/dynamic/fleet"

// StatusOf returns the health of a service on a server: what the program has set for the service, or
// else the status of the server. If service is empty, it returns the worst status of the server and
// its services.
func StatusOf(server *fleet.Server, service string) fleet.ServingStatus {
	health := server.Health
	if service != "" {
		if status, ok := health.Services[service]; ok && health.Status == fleet.StatusServing {
			return status
		}
		return health.Status
	}
	for _, status := range health.Services {
		if status != fleet.StatusServing && health.Status == fleet.StatusServing {
			return status
		}
	}
	return health.Status
}
