package verbs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/summary"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// loadFlags are the flags of the verbs that show how much a fleet is used.
type loadFlags struct {
	query query
	by    string
	sort  string
}

func (f *loadFlags) add(cmd *cobra.Command, by summary.By, sort summary.Key) {
	f.query.add(cmd)
	cmd.Flags().StringVar(&f.by, "by", string(by), "one line for each `service|method|server`")
	cmd.Flags().StringVar(&f.sort, "sort", string(sort), "sort by `name|rate|p99|errors|active`")
}

// loadView repeatedly shows the load of the same services or methods. before contains the previous
// answers of the servers.
type loadView struct {
	flags  *loadFlags
	by     summary.By
	sort   summary.Key
	filter string
	before []*fleet.Server
}

func (f *loadFlags) view(args []string) (*loadView, error) {
	if err := choice("by", f.by, groupings...); err != nil {
		return nil, err
	}
	if err := choice("sort", f.sort, sortKeys...); err != nil {
		return nil, err
	}
	return &loadView{flags: f, by: summary.By(f.by), sort: summary.Key(f.sort), filter: strings.Join(args, "")}, nil
}

// groupings and sortKeys are the possible values of the flags --by and --sort.
var (
	groupings = []string{string(summary.ByService), string(summary.ByMethod), string(summary.ByServer)}
	sortKeys  = []string{string(summary.SortName), string(summary.SortRate), string(summary.SortP99),
		string(summary.SortErrors), string(summary.SortActive)}
)

func newStats(a *app.App) *cobra.Command {
	var flags loadFlags
	var watch watchFlags
	cmd := &cobra.Command{
		Use:   "stats [SERVICE|METHOD]",
		Short: "Show how much a fleet is used: calls, errors, times",
		Long: `Show how much a fleet is used: calls, errors, times.

The servers that answer for themselves have counted since they started. With --watch, each table is
of the time since the table before. The percentiles are of all servers together.`,
		Args:              arguments(0, 1),
		ValidArgsFunction: completeServices(a, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			view, err := flags.view(args)
			if err != nil {
				return err
			}
			return watch.run(cmd.Context(), a, func(ctx context.Context) error { return view.show(ctx, a) })
		},
	}
	flags.add(cmd, summary.ByMethod, summary.SortName)
	watch.add(cmd)
	return cmd
}

// show asks the fleet and prints the load since the previous call of show. The first call prints
// the load since the start of each server.
func (v *loadView) show(ctx context.Context, a *app.App) error {
	servers, err := v.ask(ctx, a)
	if err != nil {
		return err
	}
	loads := summary.Loads(v.before, servers, v.by, v.keep())
	v.before = servers
	if len(loads) == 0 {
		return nothingCounted(v.filter, servers)
	}
	summary.SortLoads(loads, v.sort)
	return loadReport(v.by, loads, a.Now()).show(a)
}

// ask returns the answers of the servers with their counters.
func (v *loadView) ask(ctx context.Context, a *app.App) ([]*fleet.Server, error) {
	return v.flags.query.servers(ctx, a, fleet.Parts(fleet.PartServices, fleet.PartStats))
}

// keep returns a function that selects the methods which the user wants: those of a service, or one
// method. Names may leave out the package.
func (v *loadView) keep() func(*fleet.Service, *fleet.Method) bool {
	if v.filter == "" {
		return nil
	}
	return func(service *fleet.Service, method *fleet.Method) bool {
		return hasSuffixName(service.Name, v.filter) || hasSuffixName(service.Name+"/"+method.Name, v.filter)
	}
}

func nothingCounted(filter string, servers []*fleet.Server) error {
	if filter != "" {
		return app.Hint(app.Nobodyf("no server that answers serves %s", filter), hintList)
	}
	return app.Nobodyf("%s, and none of them serves anything", human.Plural(len(servers), "server")+" answered")
}

// loadRow is a line of the JSON output of stats and top.
type loadRow struct {
	Name      string            `json:"name"`
	Servers   int               `json:"servers"`
	Calls     uint64            `json:"calls"`
	PerSecond float64           `json:"per_second"`
	OK        uint64            `json:"ok"`
	Failed    uint64            `json:"failed"`
	Errors    map[string]uint64 `json:"errors,omitempty"`
	Declined  uint64            `json:"declined"`
	Active    uint64            `json:"active"`
	Updates   uint64            `json:"updates"`
	P50       int64             `json:"p50_ns"`
	P90       int64             `json:"p90_ns"`
	P99       int64             `json:"p99_ns"`
	Max       int64             `json:"max_ns"`
	LastCall  *time.Time        `json:"last_call,omitempty"`
}

func loadReport(by summary.By, loads []summary.Load, now time.Time) *report {
	r := &report{
		headers: []string{strings.ToUpper(string(by)), "SERVERS", "CALLS", titleRate, titleErrors, "DECLINED", titleActive,
			titleP50, "P90", titleP99, "MAX", "UPDATES", "CODES", "LAST CALL"},
		wide: 11,
	}
	document := make([]loadRow, len(loads))
	for i := range loads {
		load := &loads[i]
		r.rows = append(r.rows, []string{
			load.Name, human.Count(load.Servers), human.Count(load.Calls), human.Rate(load.PerSecond),
			errorsOf(load), human.Count(load.Declined), human.Count(load.Active),
			quantile(load, 0.5), quantile(load, 0.9), quantile(load, 0.99), quantile(load, 1),
			human.Count(load.Updates), codesOf(load), ago(load.LastCall, now),
		})
		document[i] = loadRow{
			Name: load.Name, Servers: load.Servers, Calls: load.Calls, PerSecond: load.PerSecond, OK: load.OK,
			Failed: load.Failed, Declined: load.Declined, Active: load.Active, Updates: load.Updates,
			P50: int64(load.Duration.Quantile(0.5)), P90: int64(load.Duration.Quantile(0.9)),
			P99: int64(load.Duration.Quantile(0.99)), Max: int64(load.Duration.Quantile(1)),
		}
		for code, n := range load.Codes {
			if document[i].Errors == nil {
				document[i].Errors = make(map[string]uint64)
			}
			document[i].Errors[string(code)] = n
		}
		if !load.LastCall.IsZero() {
			lastCall := load.LastCall.UTC()
			document[i].LastCall = &lastCall
		}
	}
	r.document = document
	return r
}

// maxFailedRatio is the fraction of failed calls above which tables show an exclamation mark.
const maxFailedRatio = 0.01

// errorsOf returns the percentage of failed calls, with an exclamation mark if it is high.
func errorsOf(load *summary.Load) string {
	text := human.Percent(load.Failed, load.Ended())
	if load.FailedRatio() > maxFailedRatio {
		text += "  !"
	}
	return text
}

// quantile returns the q-quantile of the durations of the calls, or "-" if there were no calls.
func quantile(load *summary.Load, q float64) string {
	if load.Duration.Count() == 0 {
		return human.None
	}
	return human.Duration(load.Duration.Quantile(q))
}

// codesOf returns the error codes and how often they occurred. The most frequent one comes first.
func codesOf(load *summary.Load) string {
	if len(load.Codes) == 0 {
		return human.None
	}
	codes := slices.Sorted(maps.Keys(load.Codes))
	slices.SortStableFunc(codes, func(a, b errors.ErrorCode) int { return cmp.Compare(load.Codes[b], load.Codes[a]) })
	texts := make([]string, len(codes))
	for i, code := range codes {
		texts[i] = fmt.Sprintf("%s %s", code, human.Count(load.Codes[code]))
	}
	return strings.Join(texts, ", ")
}

func ago(at, now time.Time) string {
	if at.IsZero() {
		return human.None
	}
	return human.Age(now.Sub(at)) + " ago"
}
