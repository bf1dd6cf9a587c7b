package verbs

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// adminRow is the output of a verb that changes a server.
type adminRow struct {
	Server   string `json:"server"`
	State    string `json:"state,omitempty"`
	Level    string `json:"level,omitempty"`
	Previous string `json:"previous,omitempty"`

	// text describes the change in words, for the formats other than json.
	text string
}

// administer changes servers, one after the other, and prints the new state of each. It stops at
// the first error, because the other servers would often return the same error.
func administer(
	cmd *cobra.Command, a *app.App, servers []string,
	change func(ctx context.Context, f *fleet.Fleet, server string) (adminRow, error),
) error {
	if err := a.CheckWritable(cmd.Name()); err != nil {
		return err
	}
	ctx := cmd.Context()
	f, err := a.Fleet(ctx)
	if err != nil {
		return err
	}
	for _, server := range servers {
		row, err := change(ctx, f, server)
		if err != nil {
			return adminError(server, err)
		}
		row.Server = server
		switch a.Format() {
		case app.FormatJSON:
			err = a.JSON(row)
		case app.FormatName:
			err = a.Printf("%s\n", app.OneLine(server))
		default:
			err = a.Printf("%s\n", app.OneLine(server+" "+row.text))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// adminError adds the exit code and advice to the error of a change. server is the ID of the
// server.
func adminError(server string, err error) error {
	if facts, ok := errors.FactsOf(err); ok && facts.Reason == errors.ReasonNobodyListening {
		return app.Hint(app.Nobodyf("server %s cannot be told anything", server),
			"it is gone, or its program does not call fleet.Serve with fleet.WithAdmin: psrpc ping "+server)
	}
	if errors.Is(err, errors.DeadlineExceeded) {
		return app.Hint(app.RPC(err), "server "+server+" is frozen or cut off: psrpc doctor says more")
	}
	return app.RPC(err)
}
