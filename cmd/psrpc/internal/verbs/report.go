package verbs

import (
	"math"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
)

// report is the result of a verb in all formats of the output.
type report struct {
	// headers and rows form the table. Columns with an index of wide or higher are shown only in
	// the format wide.
	headers []string
	rows    [][]string
	wide    int
	// notes are lines below the table.
	notes []string
	// document is the output in the format json.
	document any
}

// show prints the report in the format of the output.
func (r *report) show(a *app.App) error {
	if a.Format() == app.FormatJSON {
		return a.JSON(r.document)
	}
	if len(r.rows) > 0 {
		columns := r.wide
		if a.Wide() {
			columns = len(r.headers)
		}
		rows := make([][]string, len(r.rows))
		for i, row := range r.rows {
			rows[i] = row[:columns]
		}
		if err := a.Table(r.headers[:columns], rows); err != nil {
			return err
		}
	}
	return note(a, r.notes...)
}

// note prints lines that explain a table. It prints them only in the formats table and wide, and
// not with -q.
func note(a *app.App, lines ...string) error {
	if a.Flags.Quiet || a.Format() != app.FormatTable && !a.Wide() {
		return nil
	}
	for _, line := range lines {
		if err := a.Printf("%s\n", app.OneLine(line)); err != nil {
			return err
		}
	}
	return nil
}

// finite returns an affinity that JSON can express. The affinity from a peer may be infinite or
// NaN.
func finite(affinity float32) float32 {
	if math.IsNaN(float64(affinity)) {
		return 0
	}
	return max(-math.MaxFloat32, min(affinity, math.MaxFloat32))
}

// These are the headers of columns that several tables have.
const (
	titleActive = "ACTIVE"
	titleApp    = "APP"
	titleErrors = "ERRORS"
	titleLabels = "LABELS"
	titleP50    = "P50"
	titleP99    = "P99"
	titleRate   = "CALLS/S"
	titleServer = "SERVER"
	titleState  = "STATE"
)
