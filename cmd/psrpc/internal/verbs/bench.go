package verbs

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/contexts"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/load"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// bench is one run of the verb bench.
type bench struct {
	app *app.App
	requestFlags

	plan      load.Plan
	ramp      string
	limits    load.Thresholds
	maxErrors string
	// These are the numbers of streams, of unacknowledged messages on a stream, of subscribers, and
	// of responses. Numbers that do not apply to the kind of the method are ignored.
	streams, window, subscribers, expect int
	echo, first                          bool
	csv, html                            string
}

func newBench(a *app.App) *cobra.Command {
	b := &bench{app: a}
	command := &cobra.Command{
		Use:   "bench METHOD [DATA]",
		Short: "Put load on a method and measure it",
		Long: `bench repeats calls of a method, messages on streams of it, or updates, and prints how many there
were in a second and how long they took.

Without --rate, the loop is closed: each of the callers waits for its answer before it calls again.
With --rate or --ramp, the loop is open: calls start at that rate, whether or not earlier ones have
ended. Times then count from the intended start, so that a slow server cannot hide.

For a stream, each operation is a message: until it is acknowledged or, with --echo, until a message
comes back. For a subscription, bench publishes updates and receives them itself; times are from the
publication to the delivery, and lost and repeated updates are counted.

DATA is like that of call, but once only. It may contain these templates, also as name=value:
{{.N}} is the number of the operation, {{.Caller}} that of the caller, {{uuid}} a random UUID,
{{rand 1 10}} a random number, {{pick "a" "b"}} one of several values, {{text 16}} random letters,
and {{now}} the time.

bench ends by itself: after --for or --count, or if none of the first hundred operations succeeds. It
refuses a bus on another machine without --yes. If a threshold such as --max-p99 is not kept, the exit
code is 5.`,
		Example: `  psrpc bench Greeter/Hello name=Ada -c 64
  psrpc bench Greeter/Hello 'name=user-{{rand 1 1000}}' --rate 500 --for 30s --max-p99 5ms --max-errors 0.1%
  psrpc bench Greeter/Hello --ramp 100:1000:30s --html report.html
  psrpc bench Greeter/Chat '{"name": "Ada"}' --streams 16 --echo
  psrpc bench Greeter/News text=hello --rate 100 --subscribers 3`,
		Args:              arguments(1, -1),
		ValidArgsFunction: completeMethods(a, nil),
		RunE: func(command *cobra.Command, args []string) error {
			return b.run(command.Context(), args[0], args[1:])
		},
	}
	b.addTopic(command)
	b.addMetadata(command)
	flags := command.Flags()
	flags.IntVarP(&b.plan.Callers, "concurrency", "c", 0,
		fmt.Sprintf("number of callers (default %d); with --rate, the most operations at once (default %d)", load.DefaultCallers, load.DefaultMaxActive))
	flags.Float64Var(&b.plan.Rate, "rate", 0, "operations that start in a second")
	flags.StringVar(&b.ramp, "ramp", "", "a rate that changes, as FROM:TO:TIME, such as 100:1000:30s")
	flags.DurationVar(&b.plan.For, "for", 0, fmt.Sprintf("time to measure (default %s, or that of --ramp)", load.DefaultFor))
	flags.Uint64VarP(&b.plan.Count, "count", "n", 0, "end after this number of operations")
	flags.DurationVar(&b.plan.WarmUp, "warm-up", 3*time.Second, "time before the measurement")
	flags.DurationVar(&b.limits.MaxP50, "max-p50", 0, "highest acceptable median of the times")
	flags.DurationVar(&b.limits.MaxP90, "max-p90", 0, "highest acceptable 90th percentile")
	flags.DurationVar(&b.limits.MaxP99, "max-p99", 0, "highest acceptable 99th percentile")
	flags.DurationVar(&b.limits.MaxP999, "max-p999", 0, "highest acceptable 99.9th percentile")
	flags.StringVar(&b.maxErrors, "max-errors", "", "highest acceptable share of errors, such as 0.1%")
	flags.Float64Var(&b.limits.MinRate, "min-rate", 0, "lowest acceptable number of completed operations in a second")
	flags.IntVar(&b.streams, "streams", 0, "number of streams (default: as many as callers in a closed loop, else 1)")
	flags.IntVar(&b.window, "window", 1, "messages that may be unacknowledged on a stream; above 1, times last until the next one may be sent")
	flags.BoolVar(&b.echo, "echo", false, "wait for a message on the stream after each one that is sent")
	flags.IntVar(&b.subscribers, "subscribers", 1, "number of subscribers to the updates")
	flags.IntVar(&b.expect, "expect", 0, "end multi calls after this number of answers")
	flags.BoolVar(&b.first, "first", false, "take the first server that claims a call")
	flags.StringVar(&b.csv, "csv", "", "file for a line for each second")
	flags.StringVar(&b.html, "html", "", "file for a page with the result")
	a.AddYes(command)
	a.AddDigest(command)
	return command
}

func (b *bench) run(ctx context.Context, name string, args []string) error {
	if err := b.parse(); err != nil {
		return err
	}
	if err := b.app.CheckWritable("bench"); err != nil {
		return err
	}
	if err := b.checkLoopback(); err != nil {
		return err
	}
	method, err := b.app.Method(ctx, name)
	if err != nil {
		return err
	}
	target, err := b.target(ctx, method, args)
	if err != nil {
		return err
	}
	report := &load.Report{Method: method.FullName(), Kind: method.Kind().String(), Bus: busName(b.app), Loop: b.loop(method.Kind())}
	b.app.Notef("%s on %s: %s", report.Method, report.Bus, report.Loop)
	if b.app.Flags.Verbose {
		b.plan.Progress = b.progress
	}
	if report.Result, err = b.measure(ctx, target); err != nil {
		return app.RPC(err)
	}
	report.Broken = b.limits.Check(report.Result)
	if err := errors.Join(b.print(report), b.write(report)); err != nil {
		return err
	}
	var failure error
	if report.Completed == 0 {
		failure = app.RPC(report.Err)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(report.Broken) > 0 && (failure == nil || app.CodeOf(failure) > app.ExitRPC):
		return app.Exit(app.ExitUnwanted, errors.New(strings.Join(report.Broken, "\n  ")))
	default:
		return failure
	}
}

// parse reads the flags whose values are text, and checks the plan.
func (b *bench) parse() error {
	if b.window < 1 || b.subscribers < 1 {
		return app.Usagef("--window and --subscribers must be at least 1")
	}
	if b.maxErrors != "" {
		share, err := parseShare(b.maxErrors)
		if err != nil {
			return app.Usagef("--max-errors %s: want a share such as 0.1%%", b.maxErrors)
		}
		b.limits.MaxErrors = &share
	}
	if err := b.parseRamp(); err != nil {
		return err
	}
	if err := b.plan.Validate(); err != nil {
		return app.Exit(app.ExitUsage, err)
	}
	return nil
}

// parseRamp reads the flag --ramp.
func (b *bench) parseRamp() error {
	if b.ramp == "" {
		return nil
	}
	if b.plan.Rate != 0 {
		return app.Usagef("--rate and --ramp exclude each other")
	}
	parts := strings.Split(b.ramp, ":")
	ramp := new(load.Ramp)
	var errs [3]error
	if len(parts) == len(errs) {
		ramp.From, errs[0] = strconv.ParseFloat(parts[0], 64)
		ramp.To, errs[1] = strconv.ParseFloat(parts[1], 64)
		ramp.Over, errs[2] = time.ParseDuration(parts[2])
	}
	if len(parts) != len(errs) || errors.Join(errs[:]...) != nil {
		return app.Usagef("--ramp %s: want FROM:TO:TIME, such as 100:1000:30s", b.ramp)
	}
	b.plan.Ramp = ramp
	return nil
}

// parseShare parses a share such as 0.1% or 0.001.
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	share, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		share /= 100
	}
	if err == nil && !(share >= 0 && share <= 1) {
		err = errors.New("out of range")
	}
	return share, err
}

// checkLoopback returns an error if the bus is on another machine and --yes is not given.
func (b *bench) checkLoopback() error {
	settings, err := b.app.Settings()
	if err != nil {
		return err
	}
	if b.app.GivenBus != nil || b.app.Flags.Yes || isLoopback(settings.Bus) {
		return nil
	}
	return app.Hint(app.Usagef("bench would put load on %s, which may not be on this machine", busName(b.app)),
		"add --yes if the broker and its servers may be loaded")
}

// isLoopback reports whether all hosts of a URL are this machine.
func isLoopback(rawURL string) bool {
	u, err := url.Parse(rawURL)
	if err != nil {
		return false
	}
	if u.Scheme == "unix" || u.Scheme == "local" || strings.HasSuffix(u.Scheme, "+unix") {
		return true
	}
	for _, host := range append(strings.Split(u.Host, ","), u.Query()["addr"]...) {
		name, _, err := net.SplitHostPort(host)
		if err != nil {
			name = strings.Trim(host, "[]")
		}
		if ip := net.ParseIP(name); name != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// busName returns the URL of the bus without user, password and parameters, so that no secret is
// shown.
func busName(a *app.App) string {
	settings, err := a.Settings()
	if err != nil || a.GivenBus != nil {
		return "the bus"
	}
	return contexts.Hosts(settings.Bus)
}

// target returns the method, the messages and the options for the load.
func (b *bench) target(ctx context.Context, method *registry.Method, args []string) (*load.Target, error) {
	options, err := b.options(b.app, method)
	if err != nil {
		return nil, err
	}
	if b.first {
		options = append(options, dynamic.WithSelectionOpts(dynamic.SelectionOpts{AcceptFirstAvailable: true}))
	}
	of := method.Input()
	if method.Kind() == registry.KindSubscription {
		of = method.Output()
	}
	text, err := templateText(ctx, &data{app: b.app, message: of}, args)
	if err != nil {
		return nil, err
	}
	template, err := load.NewTemplate(method, of, text)
	if err != nil {
		return nil, app.Exit(app.ExitUsage, err)
	}
	conn, err := b.app.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &load.Target{Conn: conn, Method: method, Data: template, Options: options}, nil
}

// templateText returns the JSON for the arguments that follow the method. It does not parse JSON in
// them, because it may contain template actions.
func templateText(ctx context.Context, d *data, args []string) (string, error) {
	if !slices.ContainsFunc(args, func(arg string) bool { return !field.MatchString(arg) }) {
		text, err := fieldsAsJSON(d.message, args)
		return string(text), err
	}
	if len(args) > 1 {
		return "", app.Usagef("bench sends one message again and again: %s is too much", quoted(args[1]))
	}
	path, isFile := strings.CutPrefix(args[0], "@")
	switch {
	case !isFile:
		return args[0], nil
	case path == "-":
		text, err := io.ReadAll(d.app.Input(ctx))
		return string(text), err
	default:
		text, err := os.ReadFile(path) //nolint:gosec // the user has named it
		return string(text), err
	}
}

// measure runs the load that suits the method's kind.
func (b *bench) measure(ctx context.Context, target *load.Target) (*load.Result, error) {
	switch target.Method.Kind() {
	case registry.KindMulti:
		calls, err := load.NewMultiCalls(target, b.expect)
		if err != nil {
			return nil, err
		}
		result, err := load.Run(ctx, b.plan, calls.Do)
		if err == nil {
			result.Responses = calls.Responses()
		}
		return result, err
	case registry.KindStream:
		return b.measureStreams(ctx, target)
	case registry.KindSubscription:
		return b.measureUpdates(ctx, target)
	default:
		call, err := load.NewCalls(target)
		if err != nil {
			return nil, err
		}
		return load.Run(ctx, b.plan, call)
	}
}

func (b *bench) measureStreams(ctx context.Context, target *load.Target) (*load.Result, error) {
	settings, err := b.app.Settings()
	if err != nil {
		return nil, err
	}
	options := load.StreamOptions{Streams: b.streams, Window: b.window, Echo: b.echo, EchoTimeout: settings.Timeout}
	if options.Streams == 0 && b.plan.Rate == 0 && b.plan.Ramp == nil {
		options.Streams = b.plan.Callers
	}
	plan := b.plan
	if plan.Callers == 0 && plan.Rate == 0 && plan.Ramp == nil {
		plan.Callers = options.Streams
	}
	streams, err := load.NewStreams(target, options)
	if err != nil {
		return nil, err
	}
	defer streams.Close()
	result, err := load.Run(ctx, plan, streams.Do)
	if err != nil {
		return nil, err
	}
	flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), app.DefaultTimeout)
	defer cancel()
	if err := streams.Flush(flushing); err != nil {
		b.app.Warnf("some of the last messages were not acknowledged: %v", err)
	}
	return result, nil
}

func (b *bench) measureUpdates(ctx context.Context, target *load.Target) (*load.Result, error) {
	options := load.UpdateOptions{Wait: b.plan.Rate == 0 && b.plan.Ramp == nil, Settled: b.app.DefaultWait}
	for range b.subscribers {
		// Each subscriber has its own connection, as if it ran in another process.
		other := secondApp(b.app)
		b.app.OnClose(other.Close)
		conn, err := other.Conn(ctx)
		if err != nil {
			return nil, err
		}
		service := target.Method.Service()
		if _, err := other.Registry().Register(service.Descriptor(), registry.WithWireName(service.WireName())); err != nil {
			return nil, err
		}
		options.Subscribers = append(options.Subscribers, conn)
	}
	updates, err := load.NewUpdates(target, options)
	if err != nil {
		return nil, err
	}
	defer updates.Close()
	result, err := load.Run(ctx, b.plan, updates.Do)
	if err != nil {
		return nil, err
	}
	updates.Settle()
	result.Delivery = updates.Delivery()
	return result, nil
}

// secondApp returns an app with the same settings, but with a bus and a conn of its own.
func secondApp(a *app.App) *app.App {
	return &app.App{
		In: a.In, Out: a.Out, Err: a.Err, Env: a.Env, Now: a.Now, Terminal: a.Terminal, GivenBus: a.GivenBus, Flags: a.Flags,
	}
}

// loop describes in words how the load is made, such as "closed loop, 64 callers". kind is the kind
// of the method.
func (b *bench) loop(kind registry.Kind) string {
	var parts []string
	switch {
	case b.plan.Ramp != nil:
		parts = append(parts, fmt.Sprintf("open loop, %g to %g a second within %s", b.plan.Ramp.From, b.plan.Ramp.To, b.plan.Ramp.Over))
	case b.plan.Rate > 0:
		parts = append(parts, fmt.Sprintf("open loop, %g a second", b.plan.Rate))
	default:
		callers := b.plan.Callers
		if callers == 0 && kind == registry.KindStream {
			callers = b.streams
		}
		parts = append(parts, "closed loop, "+human.Plural(max(callers, load.DefaultCallers), "caller"))
	}
	if b.plan.WarmUp > 0 {
		parts = append(parts, fmt.Sprintf("%s of warm-up", b.plan.WarmUp))
	}
	switch {
	case b.plan.For > 0:
		parts = append(parts, b.plan.For.String())
	case b.plan.Count > 0:
		parts = append(parts, human.Plural(b.plan.Count, "operation"))
	case b.plan.Ramp == nil:
		parts = append(parts, load.DefaultFor.String())
	}
	return strings.Join(parts, ", ")
}

// progress prints one line about the past second.
func (b *bench) progress(s load.Second) {
	b.app.Notef("%3.0f s  %s a second  p50 %s  p99 %s  %s",
		s.At.Seconds(), human.Count(s.Completed), human.Duration(s.P50), human.Duration(s.P99), human.Plural(s.Failed, "error"))
}

// print prints the result.
func (b *bench) print(report *load.Report) error {
	if b.app.Format() == app.FormatJSON {
		return b.app.JSON(report)
	}
	headers, row := []string{"PER SECOND"}, []string{human.Rate(report.PerSecond)}
	add := func(header, cell string) { headers, row = append(headers, header), append(row, cell) }
	if d := report.Delivery; d != nil {
		add("DELIVERED", human.Count(d.Received))
		add("LOST", human.Count(d.Lost))
		add("REPEATED", human.Count(d.Repeated))
	}
	if r := report.Responses; r != nil {
		add("ANSWERS", answers(r))
	}
	latency := report.MainLatency()
	for _, column := range []struct {
		header string
		value  time.Duration
	}{
		{"MEAN", latency.Mean}, {"P50", latency.P50}, {"P90", latency.P90}, {"P99", latency.P99},
		{"P99.9", latency.P999}, {"MAX", latency.Max},
	} {
		cell := human.None
		if column.value > 0 {
			cell = human.Duration(column.value)
		}
		add(column.header, cell)
	}
	add("ERRORS", human.Percent(report.Failed+report.NotStarted, report.Operations+report.NotStarted))
	if err := b.app.Table(headers, [][]string{row}); err != nil {
		return err
	}
	return b.printNotes(report)
}

// answers returns how many servers have answered a multi call. If the calls differ, it returns the
// lowest and the highest number.
func answers(r *load.Responses) string {
	if r.Fewest == r.Most {
		return human.Count(r.Most)
	}
	return human.Count(r.Fewest) + " to " + human.Count(r.Most)
}

// printNotes prints what the user must know to read the table: which errors have occurred, how many
// operations did not start or started late, and how many updates came from other publishers.
func (b *bench) printNotes(report *load.Report) error {
	var text strings.Builder
	for _, code := range slices.Sorted(maps.Keys(report.Errors)) {
		fmt.Fprintf(&text, "%s × %s\n", human.Count(report.Errors[code]), code)
	}
	// If no operation was completed, the verb itself returns the first error.
	if report.FirstError != "" && (report.Completed > 0 || len(report.Broken) > 0) {
		fmt.Fprintf(&text, "first error: %s\n", report.FirstError)
	}
	if report.NotStarted > 0 {
		fmt.Fprintf(&text, "%s never started, because %s were waiting for answers\n",
			human.Plural(report.NotStarted, "operation"), human.Plural(uint64(b.maxActive()), "earlier one")) //nolint:gosec // positive
	}
	if late := report.Late; late != nil && late.P99 > report.MainLatency().P99/4 && report.Completed > 0 {
		fmt.Fprintf(&text, "1 %% of the starts were more than %s late: this machine or -c limits the rate\n", human.Duration(late.P99))
	}
	if d := report.Delivery; d != nil && d.Foreign > 0 {
		fmt.Fprintf(&text, "not counted: %s of other publishers\n", human.Plural(d.Foreign, "update"))
	}
	if text.Len() == 0 {
		return nil
	}
	// The codes and texts of errors come from servers and may contain control characters.
	return b.app.Printf("%s", app.Printable(text.String()))
}

func (b *bench) maxActive() int {
	if b.plan.Callers > 0 {
		return b.plan.Callers
	}
	return load.DefaultMaxActive
}

// write writes the files that the flags name.
func (b *bench) write(report *load.Report) error {
	var problems []error
	for path, write := range map[string]func(io.Writer) error{b.csv: report.WriteCSV, b.html: report.WriteHTML} {
		if path != "" {
			problems = append(problems, writeFile(path, write))
		}
	}
	return errors.Join(problems...)
}

// writeFile creates a file and calls write with it.
func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path) //nolint:gosec // the user has named it
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
