package app

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// AddFlags adds the common flags to the root command.
func (a *App) AddFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&a.Flags.Bus, "bus", "",
		"URL of the bus, such as redis://host:6379 or nats://host:4222 (PSRPC_BUS; default "+DefaultBus+", where psrpc up listens)")
	flags.StringVar(&a.Flags.Context, "context", "", "named settings to use, see psrpc context (PSRPC_CONTEXT)")
	flags.StringVar(&a.Flags.Prefix, "prefix", "", "prefix of all channels")
	flags.StringSliceVarP(&a.Flags.Proto, "proto", "p", nil, ".proto files with the services, or patterns such as protos/*.proto")
	flags.StringSliceVarP(&a.Flags.Import, "import", "I", nil, "directories from which .proto files are imported")
	flags.StringSliceVar(&a.Flags.DescriptorSet, "descriptor-set", nil, "descriptor sets with the services, made by protoc -o or buf build")
	flags.DurationVar(&a.Flags.Timeout, "timeout", 0, fmt.Sprintf("time to wait for answers (default %s)", DefaultTimeout))
	flags.StringVarP(&a.Flags.Output, "output", "o", string(FormatTable), "format of the output: "+strings.Join(formats, ", "))
	flags.BoolVarP(&a.Flags.Quiet, "quiet", "q", false, "print no notes and warnings")
	flags.BoolVarP(&a.Flags.Verbose, "verbose", "v", false, "print what happens on the way")
	flags.StringVar(&a.Flags.Color, "color", colorAuto, "colors: "+strings.Join(colors, ", "))
	complete(root, "output", formats)
	complete(root, "color", colors)
}

// complete makes the shell complete the flag with the given values.
func complete(command *cobra.Command, flag string, values []string) {
	err := command.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // this happens only if the name of the flag is misspelled
	}
}

// CheckFlags returns an error if a common flag has a wrong value.
func (a *App) CheckFlags() error {
	if !slices.Contains(formats, a.Flags.Output) {
		return Usagef("-o %s: the formats are %s", a.Flags.Output, strings.Join(formats, ", "))
	}
	if !slices.Contains(colors, a.Flags.Color) {
		return Usagef("--color %s: the values are %s", a.Flags.Color, strings.Join(colors, ", "))
	}
	return nil
}

// AddYes adds the flag --yes to a verb that changes something; see [App.CheckWritable].
func (a *App) AddYes(command *cobra.Command) {
	command.Flags().BoolVar(&a.Flags.Yes, "yes", false, "do it, also in a read-only context")
}

// CheckWritable returns an error if the context is read-only and --yes is not given. Verbs that
// change something call it first.
func (a *App) CheckWritable(verb string) error {
	settings, err := a.Settings()
	if err != nil {
		return err
	}
	if settings.ReadOnly && !a.Flags.Yes {
		return Hint(Usagef("context %s is read-only: %s is refused", settings.Name, verb), "add --yes to do it all the same")
	}
	return nil
}
