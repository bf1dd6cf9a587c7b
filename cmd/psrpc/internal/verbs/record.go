package verbs

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/recording"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// record is one run of the verb record.
type record struct {
	app        *app.App
	source     tapSource
	unredacted bool
	force      bool

	file *os.File
	// overwrites is set if the file existed before. The file is emptied when the recording begins.
	overwrites bool
	writer     *recording.Writer
	redactor   *recording.Redactor
	// incomplete is the number of events that are recorded without their message, because it is too
	// large or its schema is not known.
	incomplete uint64
}

func newRecord(a *app.App) *cobra.Command {
	r := &record{app: a, source: tapSource{app: a}}
	command := &cobra.Command{
		Use:   "record FILE [METHOD...]",
		Short: "Write the calls and updates of servers to a file",
		Long: `record writes what tap shows, with all messages, to a file, until it is interrupted. The file has the
schemas, too, so that replay and serve --from need nothing else.

Fields with the option debug_redact, and those with an option that the context names, are removed.
--unredacted keeps what the servers send; servers themselves, and --passive, remove secret fields all
the same.`,
		Example: `  psrpc record traffic.psrpc 'Orders/*' --for 1m
  psrpc replay traffic.psrpc --context staging --compare`,
		Args: arguments(1, -1),
		RunE: func(command *cobra.Command, args []string) error {
			return r.run(command.Context(), args[0], args[1:])
		},
	}
	r.source.request.Payloads = true
	r.source.addFlags(command)
	flags := command.Flags()
	flags.Uint32Var(&r.source.request.MaxPerSecond, "max-rate", fleet.MaxTapRate, "events a second from each server; others are left out and counted")
	flags.Uint32Var(&r.source.request.MaxBytes, "max-bytes", fleet.MaxTapPayload, "size of a message above which it is left out")
	flags.BoolVar(&r.unredacted, "unredacted", false, "do not remove secret fields")
	flags.BoolVar(&r.force, "force", false, "overwrite FILE")
	return command
}

func (r *record) run(ctx context.Context, path string, patterns []string) (err error) {
	settings, err := r.app.Settings()
	if err != nil {
		return err
	}
	if !r.unredacted {
		r.redactor = newRedactor(settings)
	}
	if err := r.create(path); err != nil {
		return err
	}
	err = r.source.run(ctx, patterns, func() error { return r.started(ctx, path) }, r.add)
	started := r.writer != nil
	if closing := r.close(path); err == nil || ctx.Err() != nil {
		// An interrupt is the normal end of a recording, so it is not an error.
		err = closing
	}
	if err != nil || !started {
		return err
	}
	text := fmt.Sprintf("%s in %s", human.Plural(r.writer.Events(), "event"), path)
	if r.source.missed > 0 {
		text += fmt.Sprintf(", %s left out", human.Count(r.source.missed))
	}
	if r.incomplete > 0 {
		text += fmt.Sprintf(", %s without their message", human.Count(r.incomplete))
	}
	r.app.Notef("%s", text)
	if r.app.Format() == app.FormatJSON {
		err := r.app.JSON(map[string]any{
			"file": path, "events": r.writer.Events(), "missed": r.source.missed, "incomplete": r.incomplete,
			"watched": r.source.watched, "servers": r.source.found,
		})
		if err != nil {
			return err
		}
	}
	if r.writer.Events() == 0 {
		return app.Nobodyf("nothing was recorded")
	}
	return nil
}

// create creates the file, which only the user may read.
func (r *record) create(path string) (err error) {
	r.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600) //nolint:gosec // the user has named it
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	if !r.force {
		return app.Hint(app.Usagef("%s exists", path), "--force overwrites it")
	}
	r.overwrites = true
	r.file, err = os.OpenFile(path, os.O_WRONLY, 0) //nolint:gosec // the user has named it
	return err
}

// close closes the file. It removes a new file if the recording has not begun.
func (r *record) close(path string) error {
	switch {
	case r.writer != nil:
		return errors.Join(r.writer.Close(), r.file.Close())
	case r.overwrites:
		return r.file.Close()
	default:
		return errors.Join(r.file.Close(), os.Remove(path))
	}
}

// empty truncates a file that existed before.
func (r *record) empty() error {
	if !r.overwrites {
		return nil
	}
	info, err := r.file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err // a device or a pipe has no content to remove
	}
	return errors.Join(r.file.Chmod(0o600), r.file.Truncate(0))
}

// started writes the header and the schemas at the start of the file.
func (r *record) started(ctx context.Context, path string) (err error) {
	header := recording.Header{Begun: r.app.Now(), Software: "psrpc " + dynamic.Version}
	b, err := r.app.Bus(ctx)
	if err != nil {
		return err
	}
	if informed, ok := b.(bus.Informed); ok {
		header.Bus = informed.Settings().Kind
	}
	if r.redactor != nil {
		header.Redacted = r.redactor.Options()
	}
	if err := r.empty(); err != nil {
		return err
	}
	if r.writer, err = recording.NewWriter(r.file, header); err != nil {
		return err
	}
	for digest, service := range r.source.services.versions {
		if err := r.writer.AddService(recordedService(service, digest)); err != nil {
			return err
		}
	}
	if r.source.isPassive() {
		r.app.Notef("recording from %s to %s", r.source.where(), path)
		return nil
	}
	r.app.Notef("recording %d of %s to %s", r.source.watched, human.Plural(r.source.found, "server"), path)
	return nil
}

// recordedService returns a service in the form of a recording, with the descriptors of its file
// and all imports.
func recordedService(service *registry.Service, digest fleet.Digest) recording.Service {
	files := new(descriptorpb.FileDescriptorSet)
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] || file.IsPlaceholder() {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		files.File = append(files.File, protodesc.ToFileDescriptorProto(file))
	}
	add(service.Descriptor().ParentFile())
	return recording.Service{Name: string(service.Name()), WireName: service.WireName(), Digest: digest, Files: files}
}

// add writes an event to the file, without its secrets. It always returns true, because every
// recorded event counts for --count.
func (r *record) add(event *fleet.TapEvent) (counts bool, err error) {
	copied := *event
	if event.Size > 0 && len(event.Payload) == 0 {
		r.incomplete++
	}
	if r.redactor != nil && len(event.Payload) > 0 {
		copied.Payload = r.redacted(event)
		if copied.Payload == nil {
			r.incomplete++
		}
	}
	return true, r.writer.Add(&copied)
}

// redacted returns the payload of an event without its secrets. It returns nil if the payload cannot
// be decoded.
func (r *record) redacted(event *fleet.TapEvent) []byte {
	method := r.source.services.method(event)
	if method == nil {
		return nil
	}
	message, err := recording.Decode(method, event)
	if err != nil {
		return nil
	}
	r.redactor.Apply(message, method.Service())
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return nil
	}
	return encoded
}
