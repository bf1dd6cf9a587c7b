package verbs

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// completionTimeout is how long the shell waits for names from the bus when the user presses Tab.
const completionTimeout = time.Second

func newCompletion(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that makes a shell complete verbs, flags, methods and contexts",
		Long: `completion prints a script for a shell. The names of methods are those of the bus: the shell asks
the servers when you press the tab key. The script for bash needs the package bash-completion.`,
		Example: `  source <(psrpc completion bash)
  psrpc completion zsh >"${fpath[1]}/_psrpc"
  psrpc completion fish >~/.config/fish/completions/psrpc.fish`,
		Args:      arguments(1, 1),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(command *cobra.Command, args []string) error {
			root := command.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.Out, true)
			case "zsh":
				return root.GenZshCompletion(a.Out)
			case "fish":
				return root.GenFishCompletion(a.Out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.Out)
			default:
				return app.Usagef("completion %s: the shells are bash, zsh, fish and powershell", args[0])
			}
		},
	}
}

// completeMethods completes the first argument of a verb with the names of methods from the files,
// the servers and the cache. It offers the methods for which suits returns true. If suits is nil,
// it offers all.
func completeMethods(a *app.App, suits func(m *registry.Method) bool) cobra.CompletionFunc {
	return func(command *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault // DATA may be the name of a file
		}
		a.Flags.Quiet = true // warnings would spoil the line that is being typed
		ctx, cancel := context.WithTimeout(command.Context(), completionTimeout)
		defer cancel()
		return methodNames(ctx, a, typed, suits), cobra.ShellCompDirectiveNoFileComp
	}
}

// methodNames returns the names of methods that begin with what the user has typed. A name has a
// package only if the user has typed one; otherwise it is like Greeter/Hello.
func methodNames(ctx context.Context, a *app.App, typed string, suits func(m *registry.Method) bool) []cobra.Completion {
	chain, err := a.Schema()
	if err != nil {
		return nil
	}
	var names []cobra.Completion
	for _, service := range chain.All(ctx) {
		for _, m := range service.Methods() {
			full := m.FullName()
			short := full[strings.LastIndexByte(full[:strings.IndexByte(full, '/')], '.')+1:]
			if suits != nil && !suits(m) {
				continue
			}
			for _, name := range []string{short, full} {
				if strings.HasPrefix(name, typed) {
					names = append(names, cobra.CompletionWithDesc(name, describeMethod(m)))
					break
				}
			}
		}
	}
	return names
}

// describeMethod returns the kind, the routing and the topic parts of a method.
func describeMethod(m *registry.Method) string {
	text := m.Kind().String() + ", " + m.Routing().String()
	if m.Topics() {
		text += ", topic " + strings.Join(m.TopicParams(), ",")
	}
	return strings.TrimSpace(text)
}
