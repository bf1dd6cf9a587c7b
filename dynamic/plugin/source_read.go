package plugin

import (
	"context"
	"encoding/hex"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// ReadSource reads the manifest, the descriptors and the code from a plugin's folder. It does not
// follow symbolic links to files outside the folder. If ReadSource fails, the error names the
// folder and, if known, the file and the manifest field.
func ReadSource(folder string) (*Source, error) {
	source, err := openSource(folder)
	if err != nil {
		return nil, errorInFolder(folder, err)
	}
	return source, nil
}

// errorInFolder adds the path of the folder to an error returned by openSource. It makes the path
// absolute if possible.
func errorInFolder(folder string, err error) error {
	if absolute, absErr := filepath.Abs(folder); absErr == nil {
		folder = absolute
	}
	return errors.NewErrorf(errorCode(err), "plugin %s: %w", folder, err)
}

// openSource is like ReadSource, but its errors do not contain the folder.
func openSource(folder string) (*Source, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	root, err := openFolder(folder)
	if err != nil {
		return nil, errors.NewErrorf(errorCode(err), "cannot open the folder: %w", err)
	}
	defer root.Close() //nolint:errcheck // the folder was only read
	return readSource(folderFS{root}, folder)
}

// openFolder opens a plugin's folder. It appends "/." to the path, so that opening fails at once if
// the path belongs to a FIFO. Otherwise, the system would wait until another process opens the FIFO
// for writing.
func openFolder(folder string) (*os.Root, error) {
	return os.OpenRoot(folder + string(filepath.Separator) + ".")
}

// readResult is the result of openSource.
type readResult struct {
	source *Source
	err    error
}

// openSourceWithin is like openSource, but returns an error if ctx ends first. Reading then
// continues in the background, because it cannot be interrupted while the file system does not
// respond.
func openSourceWithin(ctx context.Context, folder string) (*Source, error) {
	read := make(chan readResult, 1)
	// No function waits for this goroutine, because reading may never end.
	go func() {
		source, err := openSource(folder)
		read <- readResult{source, err}
	}()
	select {
	case r := <-read:
		return r.source, r.err
	case <-ctx.Done():
		return nil, errors.NewErrorf(errors.FromContext(ctx.Err()).Code(), "the folder could not be read in time: %w", ctx.Err())
	}
}

// readName returns the name of the plugin in a folder, or an empty string if the manifest cannot be
// read.
func readName(folder string) string {
	root, err := openFolder(folder)
	if err != nil {
		return ""
	}
	defer root.Close() //nolint:errcheck // the folder was only read
	s := &Source{Folder: folder}
	if err := s.readManifest(newSourceFiles(folderFS{root})); err != nil {
		return ""
	}
	return s.Name
}

// readSource reads a plugin from content, which is the file system of the plugin's folder. folder
// is the path of the folder.
func readSource(content fs.FS, folder string) (*Source, error) {
	files := newSourceFiles(content)
	s := &Source{Folder: folder}
	if err := s.readManifest(files); err != nil {
		return nil, errors.NewErrorf(errorCode(err), "manifest %s: %w", ManifestName, err)
	}
	if err := s.readServices(files); err != nil {
		return nil, err
	}
	if err := s.readCode(files); err != nil {
		return nil, errors.NewErrorf(errorCode(err), "field code of %s: %w", ManifestName, err)
	}
	s.fingerprint = files.fingerprint()
	return s, nil
}

// readManifest reads the manifest. If the manifest has no name, readManifest uses the name of the
// folder.
func (s *Source) readManifest(files *sourceFiles) error {
	data, err := files.read(ManifestName, maxManifest)
	if err != nil {
		return err
	}
	if s.Manifest, err = ParseManifest(data); err != nil {
		return err
	}
	if s.Name != "" {
		return nil
	}
	s.Name = filepath.Base(s.Folder)
	if !namePattern.MatchString(s.Name) {
		return invalid("the name of the folder is not a valid plugin name: set the field name")
	}
	return nil
}

// readCode reads the code. If the manifest contains a checksum, readCode compares it with that of
// the code.
func (s *Source) readCode(files *sourceFiles) (err error) {
	if s.Content, err = files.read(s.Code, maxCode); err != nil {
		return err
	}
	sum := files.sums[s.Code]
	s.Digest = hex.EncodeToString(sum[:])
	if s.SHA256 != "" && !strings.EqualFold(s.SHA256, s.Digest) {
		return errors.NewErrorf(errors.DataLoss,
			"%s has the checksum %s, but the field sha256 is %s: update one of them", s.Code, s.Digest, s.SHA256)
	}
	return nil
}

// readServices reads the descriptors. It sets s.Services to the services that the manifest selects.
func (s *Source) readServices(files *sourceFiles) error {
	if s.Descriptors == "" {
		return nil
	}
	// Discard the log output of the registry. The host itself reports the gRPC services that the
	// registry leaves out, once for each version of the plugin. The problems that registry.Lint
	// finds are not logged for plugins.
	all := registry.New(registry.WithWireNames(s.WireNames), registry.WithMaxSourceSize(maxDescriptor),
		registry.WithLogger(slog.New(slog.DiscardHandler)))
	err := readDescriptors(files, s.Descriptors, all)
	if errors.Is(err, registry.ErrInvalidWireName) {
		return invalid("manifest %s: field wire_names: %w", ManifestName, err)
	}
	if err != nil {
		return errors.NewErrorf(errorCode(err), "field descriptors of %s: %s: %w", ManifestName, s.Descriptors, err)
	}
	s.grpcServices = all.GRPCServices()
	names := s.Manifest.Services
	if len(names) == 0 {
		for _, service := range all.Services() {
			names = append(names, string(service.Name()))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.WireNames)) {
		if !slices.Contains(names, name) {
			return invalid("manifest %s: field wire_names: no service %q in %s", ManifestName, name, s.Descriptors)
		}
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		service, ok := all.Service(name)
		if slices.Contains(s.grpcServices, name) {
			return invalid("manifest %s: field services: %s in %s is a gRPC service: its methods have the stream keyword and no psrpc options",
				ManifestName, name, s.Descriptors)
		}
		if !ok {
			return errors.NewErrorf(errors.NotFound, "manifest %s: field services: no service %q in %s, which has %v",
				ManifestName, name, s.Descriptors, all.Services())
		}
		s.Services = append(s.Services, service)
	}
	return nil
}

// readDescriptors reads a .proto source or a descriptor set and registers its services in a
// registry.
func readDescriptors(files *sourceFiles, name string, into *registry.Registry) error {
	if path.Ext(name) == ".proto" {
		// Read the file before the parser does, because the parser's error for a path outside the
		// folder is vague.
		if _, err := files.read(name, maxDescriptor); err != nil {
			return err
		}
		return into.ParseProto(files, name)
	}
	data, err := files.read(name, maxDescriptor)
	if err != nil {
		return err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil {
		return invalid("not a FileDescriptorSet as written by protoc -o or buf build: %w", err)
	}
	return into.RegisterDescriptorSet(&set)
}

// errorCode returns the code of err. If err has no code, errorCode chooses one: NotFound for a
// missing file, PermissionDenied for a file that may not be read, and InvalidArgument for all other
// errors.
func errorCode(err error) errors.ErrorCode {
	if coded, ok := errors.AsType[errors.Error](err); ok {
		return coded.Code()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.NotFound
	case errors.Is(err, fs.ErrPermission):
		return errors.PermissionDenied
	}
	return errors.InvalidArgument
}
