package contexts

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/similar"
)

// ErrNotFound is wrapped by the errors about contexts that do not exist.
var ErrNotFound = errors.NewErrorf(errors.NotFound, "not found")

// Context is a set of settings. An empty field leaves the setting at its default.
type Context struct {
	// Name is the name of the context. It is empty for settings that are not from a context.
	Name string `yaml:"-"`
	// Bus is the URL of the bus.
	Bus string `yaml:"bus,omitempty"`
	// Prefix is the prefix of all channels.
	Prefix string `yaml:"prefix,omitempty"`
	// Monitor is the URL of the monitoring endpoint of a NATS server.
	Monitor string `yaml:"monitor,omitempty"`
	// Proto and DescriptorSet name the files with the schema. Import names the directories for the
	// imports of Proto. Relative paths are relative to the directory of the configuration file.
	Proto         []string `yaml:"proto,omitempty"`
	Import        []string `yaml:"import,omitempty"`
	DescriptorSet []string `yaml:"descriptor_set,omitempty"`
	// Timeout is the time to wait for answers.
	Timeout time.Duration `yaml:"timeout,omitempty"`
	// Metadata is sent with every call, stream and update.
	Metadata map[string]string `yaml:"metadata,omitempty"`
	// Redact names field options of the schema. Recordings and taps hide the fields that have one
	// of them.
	Redact []string `yaml:"redact,omitempty"`
	// ReadOnly refuses verbs that change something, unless --yes is given.
	ReadOnly bool `yaml:"readonly,omitempty"`
}

// Config is the content of the configuration file.
type Config struct {
	// Current is the name of the context that is used if no other one is named.
	Current  string             `yaml:"current,omitempty"`
	Contexts map[string]Context `yaml:"contexts,omitempty"`

	// path is the path of the file. It is empty if the user has no home directory.
	path string
}

// Load reads the configuration file. If there is none, or if path is empty, the configuration is
// empty. The file may contain secrets. Except on Windows, Load therefore fails if the file's mode
// gives other users any permission.
func Load(path string) (*Config, error) {
	config := &Config{path: path}
	if path == "" {
		return config, nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return config, nil
	}
	if err != nil {
		return nil, fmt.Errorf("contexts: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("contexts: others can read %s, which may contain secrets: run chmod 600 %s", path, path)
	}
	content, err := os.ReadFile(path) //nolint:gosec // the user's own file
	if err != nil {
		return nil, fmt.Errorf("contexts: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(config); err != nil && len(bytes.TrimSpace(content)) > 0 {
		return nil, fmt.Errorf("contexts: %s: %w", path, err)
	}
	return config, nil
}

// Save writes the configuration file so that only its owner can read it. If it fails, the old file
// remains unchanged.
func (c *Config) Save() error {
	if c.path == "" {
		return errors.NewErrorf(errors.FailedPrecondition, "contexts: the environment variable HOME is not set")
	}
	content, err := yaml.Marshal(c)
	if err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	directory := filepath.Dir(c.path)
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	// CreateTemp creates files with the mode 0600.
	file, err := os.CreateTemp(directory, "config-*.yaml")
	if err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	_, err = file.Write(content)
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), c.path)
	}
	if err != nil {
		return fmt.Errorf("contexts: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}

// Names returns the names of the contexts in sorted order.
func (c *Config) Names() []string { return slices.Sorted(maps.Keys(c.Contexts)) }

// Find returns the context with the given name. References to secrets remain as they are in the
// file. If there is no such context, the error wraps [ErrNotFound] and suggests a similar name.
func (c *Config) Find(name string) (Context, error) {
	context, ok := c.Contexts[name]
	if !ok {
		return Context{}, fmt.Errorf("context %s: %w%s", name, ErrNotFound, similar.Hint(name, c.Names()))
	}
	context.Name = name
	return context, nil
}

// Resolve returns a copy of the context with the given name, in which references to secrets are
// replaced by the secrets. Relative paths are made absolute. If name is empty, Resolve uses the
// current context, or an empty one if there is none.
func (c *Config) Resolve(name string, env func(string) string) (*Context, error) {
	if name == "" {
		name = c.Current
	}
	if name == "" {
		return &Context{}, nil
	}
	context, err := c.Find(name)
	if err != nil {
		return nil, err
	}
	context.Metadata = maps.Clone(context.Metadata)
	values := []*string{&context.Bus, &context.Prefix, &context.Monitor}
	for _, value := range values {
		if *value, err = Expand(*value, env); err != nil {
			return nil, fmt.Errorf("context %s: %w", name, err)
		}
	}
	for key, value := range context.Metadata {
		if context.Metadata[key], err = Expand(value, env); err != nil {
			return nil, fmt.Errorf("context %s: metadata %s: %w", name, key, err)
		}
	}
	for _, paths := range [][]string{context.Proto, context.Import, context.DescriptorSet} {
		c.makeAbsolute(paths)
	}
	return &context, nil
}

// makeAbsolute makes relative paths absolute, based on the directory of the configuration file.
func (c *Config) makeAbsolute(paths []string) {
	for i, path := range paths {
		if !filepath.IsAbs(path) {
			paths[i] = filepath.Join(filepath.Dir(c.path), path)
		}
	}
}
