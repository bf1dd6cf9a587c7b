package verbs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/jhump/protoreflect/desc"            //nolint:staticcheck // deprecated, but the printer needs it
	"github.com/jhump/protoreflect/desc/protoprint" //nolint:staticcheck // deprecated, but used deliberately
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/schema"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// describe is one run of the verb describe.
type describe struct {
	app      *app.App
	template bool
	out      string
}

func newDescribe(a *app.App) *cobra.Command {
	d := &describe{app: a}
	command := &cobra.Command{
		Use:   "describe SYMBOL",
		Short: "Print a service, method, message or enum as .proto source, or a server",
		Long: `describe prints a service, a method, a message or an enum as .proto source. SYMBOL is a full name, or
any end of it that only one symbol has. If SYMBOL is the ID of a server, describe prints what the
server tells of itself.`,
		Example: `  psrpc describe Greeter
  psrpc describe Greeter/Hello --template
  psrpc describe HelloRequest
  psrpc describe Greeter --out protos
  psrpc describe greeter-1`,
		Args:              arguments(1, 1),
		ValidArgsFunction: completeSymbols(a),
		RunE: func(command *cobra.Command, args []string) error {
			return d.run(command.Context(), args[0])
		},
	}
	command.Flags().BoolVar(&d.template, "template", false, "print JSON with all fields of the message, or of the request of the method")
	command.Flags().StringVar(&d.out, "out", "", "write the .proto files of the symbol into this directory")
	a.AddDigest(command)
	return command
}

// completeSymbols completes the first argument with the names of services and methods.
func completeSymbols(a *app.App) cobra.CompletionFunc {
	methods := completeMethods(a, nil)
	return func(command *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		names, directive := methods(command, args, typed)
		for _, service := range a.Registry().Services() {
			if strings.HasPrefix(string(service.Name()), typed) {
				names = append(names, cobra.CompletionWithDesc(string(service.Name()), "service"))
			}
		}
		return names, directive
	}
}

func (d *describe) run(ctx context.Context, name string) error {
	symbol, err := d.find(ctx, name)
	if errors.Is(err, schema.ErrNotFound) {
		server, problem := findServer(ctx, d.app, name)
		switch {
		case server == nil:
			return err // err already says whether the servers cannot be reached
		case problem != nil:
			return fmt.Errorf("server %s refuses to answer: %w", name, problem)
		default:
			return printServer(d.app, server)
		}
	}
	if err != nil {
		return err
	}
	switch {
	case d.template:
		return d.printTemplate(symbol)
	case d.out != "":
		return d.writeFiles(symbol.ParentFile())
	case d.app.Format() == app.FormatJSON:
		return d.printJSON(symbol)
	default:
		source, err := protoSource(symbol)
		if err != nil {
			return err
		}
		return d.app.Printf("%s", app.Printable(comment(symbol, d.app)+source))
	}
}

// find returns the service, method, message or enum with the given name.
func (d *describe) find(ctx context.Context, name string) (protoreflect.Descriptor, error) {
	var notFound error
	if !strings.Contains(name, "/") {
		service, err := d.app.Service(ctx, name)
		if err == nil {
			return service.Descriptor(), nil
		}
		if !errors.Is(err, schema.ErrNotFound) {
			return nil, err
		}
		notFound = err
	}
	method, err := d.app.Method(ctx, name)
	if err == nil {
		return method.Descriptor(), nil
	}
	if !errors.Is(err, schema.ErrNotFound) {
		return nil, err
	}
	if notFound == nil {
		notFound = err
	}
	chain, err := d.app.Schema()
	if err != nil {
		return nil, err
	}
	found, err := schema.FindType(chain.All(ctx), name)
	if err != nil {
		return nil, app.Exit(app.ExitUsage, err)
	}
	if found == nil {
		return nil, notFound
	}
	return found, nil
}

// comment returns a comment line to print above the source of a symbol. It says how a method is
// called, or where the schema of a service was found.
func comment(symbol protoreflect.Descriptor, a *app.App) string {
	switch symbol := symbol.(type) {
	case protoreflect.ServiceDescriptor:
		if service, ok := a.Registry().Service(string(symbol.FullName())); ok {
			return "// " + string(symbol.FullName()) + ", " + a.Origin(service) + "\n"
		}
	case protoreflect.MethodDescriptor:
		name := string(symbol.Parent().FullName()) + "/" + string(symbol.Name())
		if method, ok := a.Registry().Method(name); ok {
			return "// " + method.FullName() + ": " + describeMethod(method) + "\n"
		}
	}
	return "// " + string(symbol.FullName()) + "\n"
}

// protoSource returns the .proto source of a symbol. It always ends with a line break.
func protoSource(symbol protoreflect.Descriptor) (string, error) {
	wrapped, err := desc.WrapDescriptor(symbol)
	if err != nil {
		return "", err
	}
	printer := protoprint.Printer{Compact: true, OmitComments: protoprint.CommentsDetached}
	source, err := printer.PrintProtoToString(wrapped)
	source = signature.ReplaceAllString(source, "rpc $1($2) returns ($3)")
	return strings.TrimRight(source, "\n") + "\n", err
}

// signature matches the signature of a method in the output of protoprint, which has spaces inside
// the parentheses.
var signature = regexp.MustCompile(`\brpc (\w+) \( (.*?) \) returns \( (.*?) \)`)

// printTemplate prints JSON with all fields of a message.
func (d *describe) printTemplate(symbol protoreflect.Descriptor) error {
	switch symbol := symbol.(type) {
	case protoreflect.MessageDescriptor:
		return d.app.JSON(template(symbol, 0))
	case protoreflect.MethodDescriptor:
		message := symbol.Input()
		if method, ok := d.app.Registry().Method(string(symbol.FullName())); ok && method.Kind() == registry.KindSubscription {
			message = symbol.Output()
		}
		return d.app.JSON(template(message, 0))
	default:
		return app.Usagef("--template: %s is neither a method nor a message", symbol.FullName())
	}
}

// printJSON prints the descriptor of a symbol in its JSON form.
func (d *describe) printJSON(symbol protoreflect.Descriptor) error {
	encoded, err := descriptorJSON(symbol, d.app.Registry())
	if err != nil {
		return err
	}
	return d.app.JSON(encoded)
}

// writeFiles writes a file and all files that it imports, except for those of package
// google.protobuf.
func (d *describe) writeFiles(file protoreflect.FileDescriptor) error {
	written := map[string]bool{}
	var write func(file protoreflect.FileDescriptor) error
	write = func(file protoreflect.FileDescriptor) error {
		if written[file.Path()] || file.Package() == "google.protobuf" {
			return nil
		}
		written[file.Path()] = true
		for i := range file.Imports().Len() {
			if err := write(file.Imports().Get(i).FileDescriptor); err != nil {
				return err
			}
		}
		return d.writeFile(file)
	}
	return write(file)
}

func (d *describe) writeFile(file protoreflect.FileDescriptor) error {
	// The path may come from another process, so it must not lead out of the directory.
	if !filepath.IsLocal(filepath.FromSlash(file.Path())) {
		return errors.NewErrorf(errors.InvalidArgument, "the schema names a file outside of the directory: %q", file.Path())
	}
	source, err := protoSource(file)
	if err != nil {
		return err
	}
	path := filepath.Join(d.out, filepath.FromSlash(file.Path()))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // schemas are not secret
		return err
	}
	if err := os.WriteFile(path, []byte(source), 0o644); err != nil { //nolint:gosec // schemas are not secret
		return err
	}
	return d.app.Printf("%s\n", app.OneLine(path))
}

// descriptorJSON returns the descriptor of a symbol in its JSON form. reg contains the custom
// options that the schema declares.
func descriptorJSON(symbol protoreflect.Descriptor, reg *registry.Registry) (json.RawMessage, error) {
	var message proto.Message
	switch symbol := symbol.(type) {
	case protoreflect.ServiceDescriptor:
		message = protodesc.ToServiceDescriptorProto(symbol)
	case protoreflect.MethodDescriptor:
		message = protodesc.ToMethodDescriptorProto(symbol)
	case protoreflect.EnumDescriptor:
		message = protodesc.ToEnumDescriptorProto(symbol)
	case protoreflect.MessageDescriptor:
		message = protodesc.ToDescriptorProto(symbol)
	default:
		return nil, errors.NewErrorf(errors.InvalidArgument, "%s has no JSON form", symbol.FullName())
	}
	// Decode the descriptor again with the types of the schema. Before that, custom options are
	// unknown fields.
	encoded, err := proto.Marshal(message)
	if err == nil {
		err = proto.UnmarshalOptions{Resolver: reg}.Unmarshal(encoded, message)
	}
	if err != nil {
		return nil, err
	}
	return protojson.MarshalOptions{Resolver: reg}.Marshal(message)
}
