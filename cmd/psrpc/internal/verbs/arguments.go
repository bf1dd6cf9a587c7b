package verbs

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
)

// arguments returns a function that checks the number of arguments of a verb. If most is negative,
// there is no maximum.
func arguments(least, most int) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		usage := "usage: " + command.UseLine()
		switch {
		case len(args) < least:
			return app.Hint(app.Usagef("%s: an argument is missing", command.Name()), usage)
		case most >= 0 && len(args) > most:
			return app.Hint(app.Usagef("%s: there are too many arguments: %s", command.Name(), strings.Join(args[most:], " ")), usage)
		default:
			return nil
		}
	}
}

// mayBeNegative is the annotation of a flag whose value may be negative.
const mayBeNegative = "psrpc_may_be_negative"

// checkNumbers returns an error if a flag has a number or a duration that is negative or NaN. The
// verbs would treat many of these values as the default.
func checkNumbers(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		_, exempt := f.Annotations[mayBeNegative]
		text := f.Value.String()
		switch f.Value.Type() {
		case "int", "float32", "float64", "duration":
			if !exempt && (strings.HasPrefix(text, "-") || text == "NaN") {
				err = app.Usagef("--%s %s: the value must not be negative", f.Name, text)
			}
		}
	})
	return err
}

// choice returns an error if the value of a flag is not one of values.
func choice(flag, value string, values ...string) error {
	if slices.Contains(values, value) {
		return nil
	}
	return app.Usagef("--%s %s: the values are %s", flag, value, strings.Join(values, ", "))
}
