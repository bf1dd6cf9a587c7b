package verbs

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// call is one run of the verb call.
type call struct {
	app *app.App
	requestFlags

	server            string
	minimum, maximum  float32
	first             bool
	expect, repeat    int
	emitDefaults, raw bool
	allowUnknown      bool
	method            *registry.Method
	conn              *dynamic.Conn
	options           []dynamic.RequestOption
}

func newCall(a *app.App) *cobra.Command {
	c := &call{app: a}
	command := &cobra.Command{
		Use:   "call METHOD [DATA...]",
		Short: "Call a method of any kind, or open a stream",
		Long: `call sends a request to a method and prints the answers as JSON, one a line: one answer of a single
call, one of each server of a multi call, and all messages of a stream.

DATA is JSON, @file, @- for the standard input, or name=value pairs that set fields, such as
name=Ada tags.x=1. Without DATA, the request is empty. Several JSON values make several calls, or the
messages of a stream, which are sent as they come. After the last message of a stream, call prints
what the server sends until the server closes the stream, or is silent for the time --timeout.`,
		Example: `  psrpc call Greeter/Hello name=Ada
  psrpc call Greeter/All '{"name":"Ada"}' -v
  psrpc call Orders/Get -t eu -H authorization:@token.txt @request.json
  seq 3 | psrpc call Counter/Add @-`,
		Args:              arguments(1, -1),
		ValidArgsFunction: completeMethods(a, isCallable),
		RunE: func(command *cobra.Command, args []string) error {
			return c.run(command.Context(), args[0], args[1:])
		},
	}
	c.addTopic(command)
	c.addMetadata(command)
	flags := command.Flags()
	flags.StringVar(&c.server, "server", "", "ID of the server that shall answer, if it claims the request")
	flags.Float32Var(&c.minimum, "min", 0, "lowest affinity that a server may claim with")
	flags.Float32Var(&c.maximum, "max", 0, "affinity that is enough to stop waiting for better servers")
	flags.BoolVar(&c.first, "first", false, "take the first server that claims")
	flags.IntVar(&c.expect, "expect", 0, "end after this number of answers")
	flags.IntVar(&c.repeat, "repeat", 1, "number of times that the request of a call is sent")
	flags.BoolVar(&c.emitDefaults, "emit-defaults", false, "print fields that have no value, too")
	flags.BoolVar(&c.allowUnknown, "allow-unknown", false, "ignore fields of DATA that the schema does not have")
	flags.BoolVar(&c.raw, "raw", false, "print answers as encoded protobuf instead of JSON")
	a.AddDigest(command)
	a.AddYes(command)
	return command
}

func isCallable(m *registry.Method) bool { return m.Kind() != registry.KindSubscription }

func (c *call) run(ctx context.Context, name string, args []string) error {
	if err := c.app.CheckWritable("call"); err != nil {
		return err
	}
	if c.repeat < 1 {
		return app.Usagef("--repeat must be at least 1")
	}
	var err error
	if c.method, err = c.app.Method(ctx, name); err != nil {
		return err
	}
	if c.method.Kind() == registry.KindSubscription {
		return app.Hint(app.Usagef("%s is a subscription", c.method.FullName()),
			fmt.Sprintf("psrpc subscribe %s prints its updates; psrpc publish %s sends one", name, name))
	}
	if c.method.Kind() == registry.KindStream && c.repeat > 1 {
		return app.Usagef("%s is a stream: --repeat is for calls", c.method.FullName())
	}
	if c.options, err = c.callOptions(); err != nil {
		return err
	}
	if c.conn, err = c.app.Conn(ctx); err != nil {
		return err
	}
	d := &data{app: c.app, message: c.method.Input(), allowUnknown: c.allowUnknown}
	if c.method.Kind() == registry.KindStream {
		return c.stream(ctx, d.messages(ctx, args))
	}
	for message, err := range d.messages(ctx, args) {
		if err != nil {
			return err
		}
		for range c.repeat {
			if err := c.once(ctx, message); err != nil {
				return err
			}
		}
	}
	return nil
}

// callOptions returns the options that the flags set for each request.
func (c *call) callOptions() ([]dynamic.RequestOption, error) {
	opts, err := c.requestFlags.options(c.app, c.method)
	if err != nil {
		return nil, err
	}
	opts = append(opts, dynamic.WithExpectedResponses(c.expect))
	chosen := c.server != "" || c.minimum > 0 || c.maximum > 0 || c.first
	if !chosen {
		return opts, nil
	}
	if !c.method.RequireClaim() {
		return nil, app.Usagef("--server, --min, --max and --first choose among servers that claim: %s is answered without a claim", c.method.FullName())
	}
	selection := dynamic.SelectionOpts{
		MinimumAffinity: c.minimum, MaximumAffinity: c.maximum, AcceptFirstAvailable: c.first,
		AffinityTimeout: dynamic.DefaultSelectionTimeout, ShortCircuitTimeout: dynamic.DefaultShortCircuitTimeout,
	}
	if c.server != "" {
		selection.SelectionFunc = c.selectServer
	}
	return append(opts, dynamic.WithSelectionOpts(selection)), nil
}

// selectServer chooses the claim of the server that the flag --server names. It returns an error if
// that server has not claimed the request.
func (c *call) selectServer(claims []*dynamic.Claim) (string, error) {
	var ids []string
	for _, claim := range claims {
		if claim.ServerID == c.server {
			return c.server, nil
		}
		ids = append(ids, claim.ServerID)
	}
	slices.Sort(ids)
	claimed := "nobody did"
	if len(ids) > 0 {
		claimed = strings.Join(ids, ", ") + " did"
	}
	return "", errors.NewErrorf(errors.Unavailable, "server %s has not claimed the request; %s", c.server, claimed)
}

// once makes one call and prints its answers.
func (c *call) once(ctx context.Context, request proto.Message) error {
	if c.method.Kind() == registry.KindMulti {
		return c.multi(ctx, request)
	}
	var server string
	start := time.Now()
	response, err := dynamic.Invoke(ctx, c.conn, c.method.FullName(), request, append(c.options, dynamic.WithPeer(&server))...)
	if err != nil {
		return c.failed(err, server, time.Since(start))
	}
	c.app.Verbosef("%s %s", server, human.Duration(time.Since(start)))
	return c.print(response)
}

// multi makes one multi call and prints the answers as they arrive. If a server answers with an
// error, the call goes on, but the code of that error becomes the exit code.
func (c *call) multi(ctx context.Context, request proto.Message) error {
	start := time.Now()
	responses, err := dynamic.InvokeMulti(ctx, c.conn, c.method.FullName(), request, c.options...)
	if err != nil {
		return c.failed(err, "", time.Since(start))
	}
	var answered int
	var failure error
	for response := range responses {
		switch {
		case response.Err != nil && response.ServerID == "":
			return c.failed(response.Err, "", time.Since(start))
		case response.Err != nil:
			answered++
			failure = response.Err
			if err := c.printFailure(response.ServerID, response.Err); err != nil {
				return err
			}
		default:
			answered++
			if err := c.printAnswer(response.ServerID, time.Since(start), response.Result); err != nil {
				return err
			}
		}
	}
	if answered == 0 {
		return app.Nobodyf("nobody answered %s within %s", c.method.FullName(), human.Duration(time.Since(start)))
	}
	c.app.Verbosef("%s answered in %s", human.Plural(answered, "server"), human.Duration(time.Since(start)))
	return c.failedQuietly(failure)
}

// stream opens a stream, sends the messages as they come, and prints what arrives; see exchange.
func (c *call) stream(ctx context.Context, messages iter.Seq2[proto.Message, error]) error {
	start := time.Now()
	stream, err := dynamic.InvokeStream(ctx, c.conn, c.method.FullName(), c.options...)
	if err != nil {
		return c.failed(err, "", time.Since(start))
	}
	settings, err := c.app.Settings()
	if err != nil {
		return err
	}
	return exchange(stream, messages, c.print, c.expect, settings.Timeout)
}

// printAnswer prints the answer of one server of a multi call.
func (c *call) printAnswer(server string, took time.Duration, response proto.Message) error {
	if c.app.Format() != app.FormatJSON || c.raw {
		c.app.Verbosef("%s %s", server, human.Duration(took))
		return c.print(response)
	}
	encoded, err := c.app.MessageJSON(response, c.emitDefaults)
	if err != nil {
		return err
	}
	return c.app.JSON(struct {
		Server   string          `json:"server"`
		Response json.RawMessage `json:"response"`
	}{server, encoded})
}

// printFailure prints the error of one server of a multi call.
func (c *call) printFailure(server string, failure error) error {
	if c.app.Format() != app.FormatJSON {
		c.app.Notef("%s %s: %v", server, codeOf(failure), failure)
		return nil
	}
	return c.app.JSON(struct {
		Server  string `json:"server"`
		Code    string `json:"code"`
		Message string `json:"message"`
	}{server, codeOf(failure), failure.Error()})
}

// print prints a message.
func (c *call) print(message proto.Message) error {
	if c.raw {
		encoded, err := proto.Marshal(message)
		if err != nil {
			return err
		}
		_, err = c.app.Out.Write(encoded)
		return err
	}
	encoded, err := c.app.MessageJSON(message, c.emitDefaults)
	if err != nil {
		return err
	}
	return c.app.Printf("%s\n", encoded)
}

// failed adds the exit code and advice to the error of a call. server is the ID of the server that
// has answered with the error, or "" if it is not known.
func (c *call) failed(err error, server string, took time.Duration) error {
	exit := app.Answered(err, server, took)
	if app.CodeOf(exit) != app.ExitNobody {
		return exit
	}
	return app.Hint(app.Hint(exit, "the schema is "+c.app.Origin(c.method.Service())), hintListeners(c.method))
}

// hintListeners returns advice for the user if no server listens to a method.
func hintListeners(method *registry.Method) string {
	if method.Topics() {
		return "is the topic right, and the prefix? psrpc list --scan shows who listens"
	}
	return "is the prefix right? psrpc list --scan shows who listens"
}

// failedQuietly returns an error that only sets the exit code for err, because err has been printed
// already.
func (c *call) failedQuietly(err error) error {
	if err == nil {
		return nil
	}
	return app.Exit(app.CodeOf(app.RPC(err)), nil)
}
