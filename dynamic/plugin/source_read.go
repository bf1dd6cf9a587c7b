package plugin

import (
	"encoding/hex"
	"io/fs"
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

// ReadSource reads the folder of a plugin: its manifest, its descriptors and its code. Nothing outside the folder is
// read, through symbolic links neither. Its errors name the folder, the file and the field, and what to do.
func ReadSource(folder string) (*Source, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "plugin %s: %w", folder, err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, errors.NewErrorf(errorCode(err), "plugin %s: its folder cannot be opened: %w", folder, err)
	}
	defer root.Close() //nolint:errcheck // it was only read
	source, err := readSource(root.FS(), folder)
	if err != nil {
		return nil, errors.NewErrorf(errorCode(err), "plugin %s: %w", folder, err)
	}
	return source, nil
}

// readName returns the name that a folder's plugin would have, empty if its manifest cannot be read.
func readName(folder string) string {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return ""
	}
	defer root.Close() //nolint:errcheck // it was only read
	s := &Source{Folder: folder}
	if err := s.readManifest(newSourceFiles(root.FS())); err != nil {
		return ""
	}
	return s.Name
}

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
		return nil, errors.NewErrorf(errorCode(err), "code (field code of %s): %w", ManifestName, err)
	}
	s.fingerprint = files.fingerprint()
	return s, nil
}

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
		return invalid("the folder's name cannot be the plugin's: set the field name")
	}
	return nil
}

func (s *Source) readCode(files *sourceFiles) (err error) {
	if s.Content, err = files.read(s.Code, maxCode); err != nil {
		return err
	}
	sum := files.sums[s.Code]
	s.Digest = hex.EncodeToString(sum[:])
	if s.SHA256 != "" && !strings.EqualFold(s.SHA256, s.Digest) {
		return errors.NewErrorf(errors.DataLoss,
			"%s has the checksum %s, and the field sha256 says %s: one of them is of another version", s.Code, s.Digest, s.SHA256)
	}
	return nil
}

func (s *Source) readServices(files *sourceFiles) error {
	if s.Descriptors == "" {
		return nil
	}
	all := registry.New()
	if err := readDescriptors(files, s.Descriptors, all); err != nil {
		return errors.NewErrorf(errorCode(err), "descriptors (field descriptors of %s): %s: %w", ManifestName, s.Descriptors, err)
	}
	names := s.Manifest.Services
	if len(names) == 0 {
		for _, service := range all.Services() {
			names = append(names, string(service.Name()))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.WireNames)) {
		if !slices.Contains(names, name) {
			return invalid("manifest %s: field wire_names: there is no service %q in %s", ManifestName, name, s.Descriptors)
		}
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		service, ok := all.Service(name)
		if !ok {
			return errors.NewErrorf(errors.NotFound, "manifest %s: field services: there is no service %q in %s, which has %v",
				ManifestName, name, s.Descriptors, all.Services())
		}
		if wireName, renamed := s.WireNames[name]; renamed {
			var err error
			if service, err = registry.NewService(service.Descriptor(), registry.WithWireName(wireName)); err != nil {
				return invalid("manifest %s: field wire_names: %w", ManifestName, err)
			}
		}
		s.Services = append(s.Services, service)
	}
	return nil
}

func readDescriptors(files *sourceFiles, name string, into *registry.Registry) error {
	if path.Ext(name) == ".proto" {
		if _, err := files.read(name, maxDescriptor); err != nil { // the parser says less of a name that leads outside
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
		return invalid("it is not a FileDescriptorSet, as protoc -o and buf build write it: %w", err)
	}
	return into.RegisterDescriptorSet(&set)
}

// errorCode returns the code of an error, or that of what a file system says.
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
