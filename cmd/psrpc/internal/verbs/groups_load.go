package verbs

import (
	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
)

// testVerbs returns the verbs that load, mock, record and diagnose services.
func testVerbs(a *app.App) []*cobra.Command {
	return []*cobra.Command{
		newBench(a),
		newRecord(a),
		newReplay(a),
		newServe(a),
		newDoctor(a),
	}
}
