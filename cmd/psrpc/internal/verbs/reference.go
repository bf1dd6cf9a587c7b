package verbs

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Reference returns the content of docs/cli.md. It describes the verbs of a root command and their
// flags, in the order of the help.
func Reference(root *cobra.Command) string {
	var page strings.Builder
	fmt.Fprintf(&page, "# %s\n\nThis page is generated from the program: do not edit it.\n\n%s\n\n", root.Name(), root.Long)
	fmt.Fprintf(&page, "```sh\n%s\n```\n\n", strings.TrimSpace(unindented(root.Example)))
	fmt.Fprintf(&page, "## Flags of all verbs\n\n```\n%s```\n", root.PersistentFlags().FlagUsages())
	for _, group := range root.Groups() {
		fmt.Fprintf(&page, "\n## %s\n", strings.TrimSuffix(group.Title, ":"))
		for _, verb := range root.Commands() {
			if verb.GroupID == group.ID && verb.IsAvailableCommand() {
				writeVerb(&page, verb)
			}
		}
	}
	return page.String()
}

// writeVerb writes the section of a verb and those of the verbs below it.
func writeVerb(page *strings.Builder, verb *cobra.Command) {
	fmt.Fprintf(page, "\n### %s\n\n", verb.CommandPath())
	description := verb.Long
	if description == "" {
		description = verb.Short + "."
	}
	fmt.Fprintf(page, "%s\n\n```\n%s\n```\n", description, verb.UseLine())
	if len(verb.Aliases) > 0 {
		fmt.Fprintf(page, "\nOther names: %s\n", strings.Join(verb.Aliases, ", "))
	}
	if usages := verb.NonInheritedFlags().FlagUsages(); usages != "" {
		fmt.Fprintf(page, "\n```\n%s```\n", usages)
	}
	if verb.Example != "" {
		fmt.Fprintf(page, "\n```sh\n%s\n```\n", strings.TrimSpace(unindented(verb.Example)))
	}
	for _, below := range verb.Commands() {
		if below.IsAvailableCommand() {
			writeVerb(page, below)
		}
	}
}

// unindented removes the two spaces at the beginning of each line of an example.
func unindented(example string) string {
	lines := strings.Split(example, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}
