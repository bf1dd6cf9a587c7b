package plugin

import (
	"context"
	"path/filepath"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/internal/source"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// ReadSource reads the manifest, the descriptors and the code from a plugin's folder. It does not
// follow symbolic links to files outside the folder. If ReadSource fails, the error names the
// folder and, if known, the file and the manifest field.
func ReadSource(folder string) (*Source, error) {
	s, err := openSource(context.Background(), folder)
	if err != nil {
		return nil, errorInFolder(folder, err)
	}
	return s, nil
}

// errorInFolder adds the path of the folder to an error returned by openSource. It makes the path
// absolute if possible.
func errorInFolder(folder string, err error) error {
	if absolute, absErr := filepath.Abs(folder); absErr == nil {
		folder = absolute
	}
	return errors.NewErrorf(errorCode(err), "plugin %s: %w", folder, err)
}

// openSource is like ReadSource, but its errors do not contain the folder. It returns an error if
// ctx ends first. Reading then continues in the background; see [source.Reader.ReadWithin].
func openSource(ctx context.Context, folder string) (*Source, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	s := &Source{Folder: folder}
	content, err := s.reader().ReadWithin(ctx, folder)
	if err != nil {
		return nil, err
	}
	s.Content, s.Digest, s.Services = content.Code, content.Digest, content.Services
	s.grpcServices, s.fingerprint = content.GRPCServices, content.Fingerprint
	return s, nil
}

// reader returns a reader that sets the fields of s that come from the manifest; see
// [Source.parse].
func (s *Source) reader() source.Reader { return source.Reader{Manifest: ManifestName, Parse: s.parse} }

// readName returns the name of the plugin in a folder, or an empty string if the manifest cannot be
// read.
func readName(folder string) string {
	s := &Source{Folder: folder}
	if err := s.reader().ReadManifest(folder); err != nil {
		return ""
	}
	return s.Name
}

// errorCode returns the code of err; see [source.Code].
func errorCode(err error) errors.ErrorCode { return source.Code(err) }
