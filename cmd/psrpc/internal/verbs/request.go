package verbs

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/contexts"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// requestFlags contains the flags about the topic and the metadata of calls, streams, subscriptions
// and updates.
type requestFlags struct {
	topic    []string
	metadata []string
}

// addTopic adds the flag --topic to a verb.
func (r *requestFlags) addTopic(command *cobra.Command) {
	command.Flags().StringSliceVarP(&r.topic, "topic", "t", nil, "topic of the method; its parts are separated by commas")
}

// addMetadata adds the flag --header to a verb.
func (r *requestFlags) addMetadata(command *cobra.Command) {
	command.Flags().StringArrayVarP(&r.metadata, "header", "H", nil,
		"metadata as key:value, where value may be @file or contain ${VARIABLE}; or @file with a key:value on each line")
}

// options returns the options that the flags and the settings set for a request of a method.
func (r *requestFlags) options(a *app.App, method *registry.Method) ([]dynamic.RequestOption, error) {
	var opts []dynamic.RequestOption
	if err := checkTopic(method, r.topic); err != nil {
		return nil, err
	}
	if len(r.topic) > 0 {
		opts = append(opts, dynamic.WithTopic(r.topic...))
	}
	settings, err := a.Settings()
	if err != nil {
		return nil, err
	}
	metadata := maps.Clone(settings.Metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	for _, header := range r.metadata {
		if err := addHeader(metadata, header, a.Env); err != nil {
			return nil, err
		}
	}
	if len(metadata) > 0 {
		opts = append(opts, dynamic.WithMetadata(metadata))
	}
	return opts, nil
}

// checkTopic returns an error if the number of parts of a topic does not fit the method.
func checkTopic(method *registry.Method, topic []string) error {
	want := method.TopicParts()
	if len(topic) == want {
		return nil
	}
	if want == 0 {
		return app.Usagef("%s has no topics: leave out --topic", method.FullName())
	}
	parts := method.TopicParams()
	if len(parts) == 0 {
		parts = []string{"topic"}
	}
	return app.Usagef("%s needs a topic: --topic %s", method.FullName(), strings.ToUpper(strings.Join(parts, ",")))
}

// addHeader adds the value of one flag --header to metadata.
func addHeader(metadata map[string]string, header string, env func(string) string) error {
	if path, isFile := strings.CutPrefix(header, "@"); isFile {
		return addHeaderFile(metadata, path, env)
	}
	key, value, found := cutHeader(header)
	if !found {
		return errHeader
	}
	var err error
	if path, isFile := strings.CutPrefix(value, "@"); isFile {
		value, err = contexts.ReadSecret(path)
	} else {
		value, err = contexts.ExpandVariables(value, env)
	}
	if err != nil {
		return fmt.Errorf("-H %s: %w", key, err)
	}
	metadata[key] = value
	return nil
}

// errHeader does not repeat the header: a header without a key may consist of a secret only.
var errHeader = app.Usagef("-H: want key:value")

// cutHeader splits key:value and removes spaces around both.
func cutHeader(header string) (key, value string, found bool) {
	key, value, found = strings.Cut(header, ":")
	return strings.TrimSpace(key), strings.TrimSpace(value), found && key != ""
}

// addHeaderFile adds the lines key:value of a file to metadata. It ignores empty lines and lines
// that begin with # or @.
func addHeaderFile(metadata map[string]string, path string, env func(string) string) error {
	file, err := os.Open(path) //nolint:gosec // the user has named it
	if err != nil {
		return fmt.Errorf("-H: %w", err)
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "@") {
			continue
		}
		if err := addHeader(metadata, line, env); err != nil {
			return err
		}
	}
	return lines.Err()
}
