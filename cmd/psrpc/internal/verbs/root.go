package verbs

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/internal/similar"
)

// These are the groups of verbs in the help.
const (
	groupCall    = "call"
	groupOperate = "operate"
	groupTest    = "test"
	groupSetup   = "setup"
)

// New returns the root command with all verbs.
func New(a *app.App) *cobra.Command {
	root := &cobra.Command{
		Use:   "psrpc",
		Short: "Show, call and watch the services on a bus",
		Long: `psrpc shows, calls and watches the services on a bus: Redis or NATS.

A method is named like pkg.Service/Method, or by any end of that name that only one method has, such
as Service/Method. The schema of a method is taken from the files given with -p, from the servers
themselves, or from the cache of an earlier run, in this order.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the bus is out of reach, 4 nobody listens or nothing
was found, 5 not as wanted, 64+n a server answered with gRPC code n, 130 interrupted.`,
		Example: `  psrpc up &
  psrpc list
  psrpc call Greeter/Hello name=Ada`,
		Args: unknownVerb,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
		PersistentPreRunE: func(command *cobra.Command, _ []string) error {
			if err := checkNumbers(command.Flags()); err != nil {
				return err
			}
			return a.CheckFlags()
		},
		SilenceErrors: true,
		SilenceUsage:  true,
		// The verb completion in this package replaces cobra's own.
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return app.Hint(app.Usagef("%w", err), command.CommandPath()+" --help lists the flags")
	})
	a.AddFlags(root)
	if err := root.RegisterFlagCompletionFunc("context", completeContexts(a)); err != nil {
		panic(err) // this happens only if the name of the flag is misspelled
	}
	root.AddGroup(
		&cobra.Group{ID: groupCall, Title: "Calls:"},
		&cobra.Group{ID: groupOperate, Title: "Operation:"},
		&cobra.Group{ID: groupTest, Title: "Tests:"},
		&cobra.Group{ID: groupSetup, Title: "Set-up:"},
	)
	root.SetHelpCommandGroupID(groupSetup)
	addVerbs(root, groupCall, callVerbs(a))
	addVerbs(root, groupOperate, operateVerbs(a))
	addVerbs(root, groupTest, testVerbs(a))
	addVerbs(root, groupSetup, setupVerbs(a))
	return root
}

func addVerbs(root *cobra.Command, group string, verbs []*cobra.Command) {
	for _, verb := range verbs {
		verb.GroupID = group
		root.AddCommand(verb)
	}
}

// unknownVerb is called if the first argument is not a verb.
func unknownVerb(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, verb := range root.Commands() {
		names = append(names, verb.Name())
		names = append(names, verb.Aliases...)
	}
	hint := root.CommandPath() + " help lists the verbs"
	if name := similar.Find(args[0], names); name != "" {
		hint = "did you mean " + name + "?"
	}
	return app.Hint(app.Usagef("%s is not a verb", args[0]), hint)
}

// Run executes the command line with the given arguments and returns the exit code. It releases
// everything that the verb has opened.
func Run(ctx context.Context, a *app.App, args []string) int {
	root := New(a)
	// If the slice were nil, cobra would use the arguments of the process.
	root.SetArgs(append([]string{}, args...))
	err := root.ExecuteContext(ctx)
	if closing := a.Close(); closing != nil && err == nil {
		a.Warnf("%v", closing)
	}
	return a.Report(ctx, err)
}
