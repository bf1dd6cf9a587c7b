package registry

import (
	"fmt"
	"io"
	"io/fs"

	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// loadSources reads the named files and all the files that they import, directly or indirectly. It
// returns the sources, including built-in ones, keyed by path. If files are missing or unreadable,
// it returns an error for each of them, together with the syntax errors found so far. Otherwise it
// does not report syntax errors, because compile reports them.
func loadSources(user sourceTree, names []string) (map[string]string, error) {
	l := loader{user: user, sources: make(map[string]string)}
	for _, name := range names {
		source, err := l.user.read(name)
		if err != nil {
			l.missing.add(&SchemaError{File: name, Err: err})
			continue
		}
		l.load(name, source)
	}
	for len(l.imports) > 0 && len(l.missing) < maxProblems {
		next := l.imports[0]
		l.imports = l.imports[1:]
		l.loadImport(next)
	}
	if len(l.missing) > 0 {
		l.missing = append(l.missing, l.syntax...)
		return nil, l.missing.join(nil)
	}
	return l.sources, nil
}

// loader loads sources and the files that they import.
type loader struct {
	user    sourceTree
	sources map[string]string
	// imports contains the import statements whose files have not been loaded yet.
	imports []importStatement
	missing problemList
	syntax  problemList
}

// importStatement is an import statement and its position in the importing file.
type importStatement struct {
	path         string
	file         string
	line, column int
}

// loadImport loads an imported file unless it has already been loaded. A file that the user does
// not provide may be built into the parser, or its generated Go code may be linked into the
// program. loadImport then does nothing, because the parser itself can resolve the import.
func (l *loader) loadImport(statement importStatement) {
	path := statement.path
	if _, done := l.sources[path]; done {
		return
	}
	source, err := l.user.read(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, ok := standardFile(path); ok {
			return
		}
		if builtin, ok := builtinOptions(path, l.user); ok {
			source, err = builtin, nil
		} else if _, notLinked := linkedFile(path); notLinked == nil {
			return
		}
	}
	if err != nil {
		l.missing.add(&SchemaError{
			File: statement.file, Line: statement.line, Column: statement.column,
			Err: fmt.Errorf("import %q: %w", path, err),
		})
		return
	}
	l.load(path, source)
}

// load adds a source and queues its imports for loading.
func (l *loader) load(path, source string) {
	l.sources[path] = source
	if len(l.syntax) >= maxProblems {
		return
	}
	file, err := parseUnlinked(path, source, &l.syntax)
	if failure, ok := errors.AsType[*SchemaError](err); ok {
		l.missing.add(failure)
	}
	if err != nil {
		return
	}
	at := importPositions(file)
	for i, dependency := range file.GetDependency() {
		l.imports = append(l.imports, importStatement{
			path: dependency, file: path, line: at[int32(i)].line, column: at[int32(i)].column,
		})
	}
}

type position struct{ line, column int }

// importPositions returns the positions of the import statements in a file, keyed by the index of
// the import.
func importPositions(file *descriptorpb.FileDescriptorProto) map[int32]position {
	// This is the number of the field "dependency" in google.protobuf.FileDescriptorProto.
	const dependencyField = 3
	positions := make(map[int32]position)
	for _, at := range file.GetSourceCodeInfo().GetLocation() {
		if path := at.GetPath(); len(path) == 2 && path[0] == dependencyField {
			positions[path[1]] = position{line: int(at.GetSpan()[0]) + 1, column: int(at.GetSpan()[1]) + 1}
		}
	}
	return positions
}

// sourceTree reads source files from the user's file system.
type sourceTree struct {
	fsys fs.FS
	// maxSize is the maximum size of a source in bytes.
	maxSize int
}

// read returns the content of a source file. It returns an error if the file cannot be read or
// exceeds a limit.
func (t sourceTree) read(path string) (string, error) {
	if !fs.ValidPath(path) {
		return "", fmt.Errorf("%w path: want it relative to the root of the file system, with forward slashes and no . or .. parts",
			fs.ErrInvalid)
	}
	source, err := t.readFile(path)
	if err != nil {
		var pathError *fs.PathError
		if errors.As(err, &pathError) {
			// The path is left out here, because the caller adds it.
			err = pathError.Err
		}
		return "", err
	}
	if err := checkLimits(source); err != nil {
		return "", fmt.Errorf("%w; %s", err, useDescriptorSet)
	}
	return source, nil
}

func (t sourceTree) readFile(path string) (string, error) {
	info, err := fs.Stat(t.fsys, path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file: name .proto files, not directories")
	}
	file, err := t.fsys.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	source, err := io.ReadAll(io.LimitReader(file, int64(t.maxSize)+1))
	if err != nil {
		return "", err
	}
	if len(source) > t.maxSize {
		return "", fmt.Errorf("larger than %s; raise the limit with WithMaxSourceSize, or %s", formatSize(t.maxSize), useDescriptorSet)
	}
	return string(source), nil
}

// formatSize returns a size in bytes as text.
func formatSize(bytes int) string {
	if bytes%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// has implements userFiles. It also returns true for a file that exists but cannot be read.
func (t sourceTree) has(path string) bool {
	_, err := t.read(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// declaresOptions implements userFiles.
func (t sourceTree) declaresOptions(path string) bool {
	source, err := t.read(path)
	if err != nil {
		return false
	}
	file, err := parseUnlinked(path, source, new(problemList))
	return err == nil && declaresOptions(file)
}
