package verbs

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

// completeServers completes the arguments of a verb, starting at the index first, with the IDs of
// the servers that answer.
func completeServers(a *app.App, first int) cobra.CompletionFunc {
	return completeFleet(a, first, -1, nil, func(server *fleet.Server) []cobra.Completion {
		return []cobra.Completion{cobra.CompletionWithDesc(server.ID, appText(server))}
	})
}

// completeServices completes the first argument with the full names of the services that servers
// serve. If methods is true, it adds the names of their methods.
func completeServices(a *app.App, methods bool) cobra.CompletionFunc {
	return completeFleet(a, 0, 1, []fleet.Part{fleet.PartServices}, func(server *fleet.Server) []cobra.Completion {
		var names []cobra.Completion
		for s := range server.Services {
			service := &server.Services[s]
			names = append(names, service.Name)
			for m := range service.Methods {
				if methods {
					names = append(names, service.Name+"/"+service.Methods[m].Name)
				}
			}
		}
		return names
	})
}

// completeFleet completes arguments with the names that namesOf returns for each server that
// answers. It completes the arguments with the indices from first to limit-1. A negative limit
// means no limit.
func completeFleet(
	a *app.App, first, limit int, parts []fleet.Part, namesOf func(*fleet.Server) []cobra.Completion,
) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) < first || limit >= 0 && len(args) >= limit {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		a.Flags.Quiet = true // warnings would spoil the line that is being typed
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		f, err := a.Fleet(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []cobra.Completion
		for server, err := range f.Servers(ctx, fleet.Parts(parts...)) {
			if err != nil {
				continue
			}
			for _, name := range namesOf(server) {
				if strings.HasPrefix(name, typed) && !slices.Contains(names, name) && !slices.Contains(args, name) {
					names = append(names, name)
				}
			}
		}
		slices.Sort(names)
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// appText returns the name and version of a server's program.
func appText(server *fleet.Server) string {
	return strings.TrimSpace(server.App + " " + server.AppVersion)
}
