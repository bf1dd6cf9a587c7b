package verbs

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/contexts"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func newContext(a *app.App) *cobra.Command {
	command := &cobra.Command{
		Use:   "context",
		Short: "Name the settings of a bus, and choose among them",
		Long: `A context is a named set of settings: the URL of a bus, a prefix, files with schemas, a timeout,
metadata. Contexts are stored in the file psrpc/config.yaml of the user's configuration directory,
which must not be readable for others.

A value may refer to a secret that is kept elsewhere: ${NAME} is an environment variable,
file:/run/secrets/bus the content of a file, and cmd:COMMAND the output of a command. Secrets are
never printed. In a context with readonly, verbs that change something are refused without --yes.

If --bus or PSRPC_BUS names the bus, nothing of the context is used but redact. Its metadata, for
example, may be a secret that the servers of another bus must not see.`,
		Example: `  psrpc context add staging --bus 'redis://app:${REDIS_PASSWORD}@redis.staging:6379'
  psrpc context use staging
  psrpc --context production list`,
		Args: arguments(0, 0),
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newContextAdd(a), newContextList(a), newContextRemove(a), newContextShow(a), newContextUse(a))
	return command
}

// completeContexts completes an argument or a flag with the names of contexts.
func completeContexts(a *app.App) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		config, err := contexts.Load(a.ConfigFile())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return config.Names(), cobra.ShellCompDirectiveNoFileComp
	}
}

func newContextList(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the contexts",
		Args:    arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			config, err := contexts.Load(a.ConfigFile())
			if err != nil {
				return err
			}
			return listContexts(a, config)
		},
	}
}

// contextRow is a context in the output of the verb context ls.
type contextRow struct {
	Name     string `json:"name"`
	Current  bool   `json:"current"`
	Bus      string `json:"bus"`
	Prefix   string `json:"prefix,omitempty"`
	ReadOnly bool   `json:"readonly,omitempty"`
}

func listContexts(a *app.App, config *contexts.Config) error {
	documents := []contextRow{}
	var rows [][]string
	for _, name := range config.Names() {
		c := config.Contexts[name].Redacted()
		row := contextRow{Name: name, Current: name == config.Current, Bus: c.Bus, Prefix: c.Prefix, ReadOnly: c.ReadOnly}
		documents = append(documents, row)
		rows = append(rows, []string{name, mark(row.Current, "current"), c.Bus, mark(c.ReadOnly, "readonly")})
	}
	if a.Format() == app.FormatJSON {
		return a.JSON(documents)
	}
	if len(rows) == 0 {
		a.Notef("there are no contexts; psrpc context add NAME --bus URL makes one")
		return nil
	}
	return a.Table([]string{"NAME", "", "BUS", ""}, rows)
}

// mark returns text if condition is true, or else an empty string.
func mark(condition bool, text string) string {
	if condition {
		return text
	}
	return ""
}

func newContextAdd(a *app.App) *cobra.Command {
	var added contexts.Context
	var metadata []string
	command := &cobra.Command{
		Use:   "add NAME --bus URL",
		Short: "Store settings under a name, or replace those of that name",
		Long: `add stores the settings that are given as flags: --bus, --prefix, --proto, --import, --descriptor-set,
--timeout and those below. The first context becomes the current one.`,
		Args:              arguments(1, 1),
		ValidArgsFunction: completeContexts(a),
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] == "" {
				return app.Usagef("context add: the name is empty")
			}
			if a.Flags.Bus == "" {
				return app.Usagef("context add: --bus is missing")
			}
			added.Bus, added.Prefix, added.Timeout = a.Flags.Bus, a.Flags.Prefix, a.Flags.Timeout
			added.Proto, added.Import, added.DescriptorSet = absolute(a.Flags.Proto), absolute(a.Flags.Import), absolute(a.Flags.DescriptorSet)
			return addContext(a, args[0], added, metadata)
		},
	}
	flags := command.Flags()
	flags.StringVar(&added.Monitor, "monitor", "", "URL of the monitoring endpoint of a NATS server, such as http://host:8222")
	flags.StringArrayVarP(&metadata, "header", "H", nil, "metadata to send with every call, as key:value")
	flags.StringSliceVar(&added.Redact, "redact", nil, "options of fields that taps and recordings do not show")
	flags.BoolVar(&added.ReadOnly, "readonly", false, "refuse verbs that change something, unless --yes is given")
	return command
}

func addContext(a *app.App, name string, added contexts.Context, metadata []string) error {
	config, err := contexts.Load(a.ConfigFile())
	if err != nil {
		return err
	}
	for _, header := range metadata {
		key, value, found := cutHeader(header)
		if !found {
			return errHeader
		}
		if added.Metadata == nil {
			added.Metadata = map[string]string{}
		}
		added.Metadata[key] = value
	}
	if added.StoresSecret() {
		a.Warnf("the password is stored in %s; a reference such as ${BUS_PASSWORD} or file:PATH keeps it elsewhere", a.ConfigFile())
	}
	if config.Contexts == nil {
		config.Contexts = map[string]contexts.Context{}
	}
	config.Contexts[name] = added
	if config.Current == "" {
		config.Current = name
	}
	return config.Save()
}

func newContextUse(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:               "use NAME",
		Short:             "Make a context the current one",
		Args:              arguments(1, 1),
		ValidArgsFunction: completeContexts(a),
		RunE: func(_ *cobra.Command, args []string) error {
			return changeContexts(a, func(config *contexts.Config) error {
				if _, err := config.Find(args[0]); err != nil {
					return err
				}
				config.Current = args[0]
				return nil
			})
		},
	}
}

func newContextRemove(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:               "rm NAME",
		Aliases:           []string{"remove"},
		Short:             "Remove a context",
		Args:              arguments(1, 1),
		ValidArgsFunction: completeContexts(a),
		RunE: func(_ *cobra.Command, args []string) error {
			return changeContexts(a, func(config *contexts.Config) error {
				if _, err := config.Find(args[0]); err != nil {
					return err
				}
				delete(config.Contexts, args[0])
				if config.Current == args[0] {
					config.Current = ""
				}
				return nil
			})
		},
	}
}

// changeContexts reads the configuration file, calls change with its content and saves the result.
func changeContexts(a *app.App, change func(config *contexts.Config) error) error {
	config, err := contexts.Load(a.ConfigFile())
	if err != nil {
		return err
	}
	if err := change(config); err != nil {
		return contextError(err)
	}
	return config.Save()
}

// contextError adds advice to an error about a context that does not exist.
func contextError(err error) error {
	if errors.Is(err, contexts.ErrNotFound) {
		return app.Hint(app.Exit(app.ExitUsage, err), "psrpc context ls lists the contexts")
	}
	return err
}

func newContextShow(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:               "show [NAME]",
		Short:             "Print the settings of a context, or of the current one, without secrets",
		Args:              arguments(0, 1),
		ValidArgsFunction: completeContexts(a),
		RunE: func(_ *cobra.Command, args []string) error {
			config, err := contexts.Load(a.ConfigFile())
			if err != nil {
				return err
			}
			name := slices.Concat(args, []string{config.Current})[0]
			if name == "" {
				return app.Hint(app.Usagef("there is no current context"), "psrpc context use NAME chooses one")
			}
			context, err := config.Find(name)
			if err != nil {
				return contextError(err)
			}
			return showContext(a, context.Redacted())
		},
	}
}

func showContext(a *app.App, context contexts.Context) error {
	encoded, err := yaml.Marshal(context)
	if err != nil {
		return err
	}
	if a.Format() != app.FormatJSON {
		return a.Printf("# %s\n%s", context.Name, encoded)
	}
	document := map[string]any{}
	if err := yaml.Unmarshal(encoded, &document); err != nil {
		return fmt.Errorf("context %s: %w", context.Name, err)
	}
	document["name"] = context.Name
	return a.JSON(document)
}

// absolute makes the paths absolute, because the settings must not depend on the directory in which
// the verb was run.
func absolute(paths []string) []string {
	var result []string
	for _, path := range paths {
		if full, err := filepath.Abs(path); err == nil {
			path = full
		}
		result = append(result, path)
	}
	return result
}
