package verbs

import (
	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
)

// callVerbs returns the verbs that call methods and describe them.
func callVerbs(a *app.App) []*cobra.Command {
	return []*cobra.Command{
		newCall(a),
		newDescribe(a),
		newPublish(a),
		newSubscribe(a),
	}
}

// setupVerbs returns the verbs for setting up the command line and for trying it out.
func setupVerbs(a *app.App) []*cobra.Command {
	return []*cobra.Command{
		newCompletion(a),
		newContext(a),
		newExplorer(a),
		newGateway(a),
		newMan(a),
		newUp(a),
		newVersion(a),
	}
}
