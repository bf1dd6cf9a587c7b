package verbs

import (
	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
)

// operateVerbs returns the verbs that show a fleet and operate its servers.
func operateVerbs(a *app.App) []*cobra.Command {
	return []*cobra.Command{
		newList(a), newWho(a), newStats(a), newTop(a), newHealth(a), newPing(a), newEvents(a), newDrain(a), newResume(a), newLogLevel(a),
		newTap(a),
	}
}
