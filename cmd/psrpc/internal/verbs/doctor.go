package verbs

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/doctor"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// diagnosis is one run of the verb doctor.
type diagnosis struct {
	app    *app.App
	checks []string
	strict bool
	window time.Duration
}

func newDoctor(a *app.App) *cobra.Command {
	d := &diagnosis{app: a}
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Find out what is wrong with the broker and the fleet",
		Long: `doctor asks the broker and all servers, waits a while, asks them again, and tells what is wrong and
what to do about it. It calls no methods of your services and changes nothing.

The run ends with exit code 5 if there is an error, and with --strict also if there is a warning. Checks
that could not run, for example because the broker does not permit a question, are listed as skipped.

Checks:
` + listOfChecks(),
		Example: `  psrpc doctor
  psrpc doctor --check bus --check fleet.versions --strict -o json`,
		Args: arguments(0, 0),
		RunE: func(command *cobra.Command, _ []string) error { return d.run(command.Context()) },
	}
	flags := command.Flags()
	flags.StringSliceVar(&d.checks, "check", nil, "run only these checks, such as fleet.clock, or all that begin so, such as bus")
	flags.BoolVar(&d.strict, "strict", false, "end with exit code 5 if there is a warning, too")
	flags.DurationVar(&d.window, "for", 5*time.Second, "time during which errors and losses are counted; 0 skips these checks")
	if err := command.RegisterFlagCompletionFunc("check", completeChecks); err != nil {
		panic(err) // this happens only if the name of the flag is misspelled
	}
	return command
}

// listOfChecks returns the IDs of all checks and what they look for, one check per line.
func listOfChecks() string {
	var list strings.Builder
	for id, about := range doctor.IDs() {
		fmt.Fprintf(&list, "  %-20s %s\n", id, about)
	}
	return strings.TrimRight(list.String(), "\n")
}

func completeChecks(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var ids []cobra.Completion
	for id, about := range doctor.IDs() {
		ids = append(ids, cobra.CompletionWithDesc(id, about))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

func (d *diagnosis) run(ctx context.Context) error {
	b, err := d.app.Bus(ctx)
	if err != nil {
		return err
	}
	asked, err := d.app.Fleet(ctx)
	if err != nil {
		return app.RPC(err)
	}
	if d.window > time.Second && d.app.Terminal {
		d.app.Notef("this takes %s", human.Duration(d.window))
	}
	report, err := doctor.Examine(ctx, doctor.Target{Bus: b, Fleet: asked, Variants: d.variants},
		doctor.Options{Window: d.window, Wait: d.app.DefaultWait, Only: d.checks})
	if errors.Is(err, errors.InvalidArgument) {
		return app.Hint(app.Exit(app.ExitUsage, err), "psrpc doctor --help lists the checks")
	}
	if err != nil {
		return err
	}
	if err := d.print(report); err != nil {
		return err
	}
	switch worst := report.Worst(); {
	case report.Unreachable:
		return app.Exit(app.ExitUnreachable, nil)
	case worst == doctor.Error, d.strict && worst == doctor.Warning:
		return app.Exit(app.ExitUnwanted, nil)
	}
	return nil
}

// idWidth is the width of the column with the IDs of checks.
const idWidth = 22

// print prints a line for each finding, followed by a line of advice if there is any. It then
// prints the number of the other checks that have passed, and why checks were skipped.
func (d *diagnosis) print(report doctor.Report) error {
	if d.app.Format() == app.FormatJSON {
		return d.app.JSON(report)
	}
	var text strings.Builder
	line := func(severity doctor.Severity, first, rest string) {
		padded := fmt.Sprintf("%-5s", string(severity))
		fmt.Fprintf(&text, "%s %-*s %s\n", d.app.Styled(styleOf(severity), padded), idWidth, first, app.OneLine(rest))
	}
	indent := strings.Repeat(" ", 5+1+idWidth+1)
	reported := make(map[string]bool)
	for _, finding := range report.Findings {
		reported[finding.Check] = true
		line(finding.Severity, finding.Check, finding.Seen)
		if finding.Do != "" {
			text.WriteString(indent + app.Printable(finding.Do) + "\n")
		}
	}
	quiet := slices.DeleteFunc(slices.Clone(report.Passed), func(id string) bool { return reported[id] })
	if len(quiet) > 0 {
		fmt.Fprintf(&text, "%s %s\n", d.app.Styled(app.StyleGreen, "ok   "), human.Plural(len(quiet), "more check"))
	}
	for i, skip := range report.Skipped {
		// One cause, such as a broker that is down, may make the doctor skip many checks. Print it
		// only once.
		if slices.ContainsFunc(report.Skipped[:i], func(s doctor.Skip) bool { return s.Reason == skip.Reason }) {
			continue
		}
		checks := skip.Check
		same := 0
		for _, other := range report.Skipped[i+1:] {
			if other.Reason == skip.Reason {
				same++
			}
		}
		if same > 0 {
			checks = fmt.Sprintf("%s +%d", checks, same)
		}
		line("skip", checks, skip.Reason)
	}
	return d.app.Printf("%s", text.String())
}

func styleOf(severity doctor.Severity) app.Style {
	switch severity {
	case doctor.Error:
		return app.StyleRed
	case doctor.Warning:
		return app.StyleYellow
	case doctor.OK:
		return app.StyleGreen
	default:
		return app.StyleBold
	}
}

// variants yields the fleets that buses with other settings would find on the same broker. Each bus
// differs from that of the app in a mode that all peers must share, or in the prefix.
func (d *diagnosis) variants(ctx context.Context, info bus.Info, prefixes []string) iter.Seq[doctor.Variant] {
	var parameters [][2]string
	switch {
	case info.Kind == "redis" && slices.Contains(info.Modes, "cluster"):
		parameters = append(parameters, [2]string{"sharded", fmt.Sprint(!slices.Contains(info.Modes, "sharded"))})
	case info.Kind == "nats":
		parameters = append(parameters, [2]string{"subject_per_method", fmt.Sprint(!slices.Contains(info.Modes, "subject_per_method"))})
	}
	for _, prefix := range prefixes {
		parameters = append(parameters, [2]string{"prefix", prefix})
	}
	return func(yield func(doctor.Variant) bool) {
		for _, parameter := range parameters {
			if !d.variant(ctx, parameter, yield) {
				return
			}
		}
	}
}

// variant opens a bus on the same broker with another value of one URL parameter, and yields the
// fleet on it. It returns false if yield does.
func (d *diagnosis) variant(ctx context.Context, parameter [2]string, yield func(doctor.Variant) bool) bool {
	conn, release, err := d.app.ConnWith(ctx, parameter[0], parameter[1])
	if err != nil {
		d.app.Verbosef("%s=%s: %v", parameter[0], parameter[1], err)
		return true
	}
	defer release()
	asked, err := fleet.New(conn)
	if err != nil {
		return true
	}
	name := parameter[0] + "=" + parameter[1]
	if parameter[1] == "" {
		name = "no " + parameter[0]
	}
	return yield(doctor.Variant{Name: name, IsPrefix: parameter[0] == "prefix", Fleet: asked})
}
