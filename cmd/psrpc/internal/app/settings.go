package app

import (
	"cmp"
	"maps"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/contexts"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// DefaultBus is the bus that is used if no other one is given. The command "psrpc up" starts
	// it.
	DefaultBus = "nats://127.0.0.1:8322"
	// DefaultMonitor is the monitoring endpoint of DefaultBus.
	DefaultMonitor = "http://127.0.0.1:8323"
	// DefaultTimeout is how long to wait for answers if the settings contain no timeout.
	DefaultTimeout = 3 * time.Second
)

// Settings returns the settings of this run. A flag takes precedence over the environment, and the
// environment over the context. If a context is named by a flag, it takes precedence over the
// environment, too.
//
// If a flag or the environment names the bus, only Redact is taken from the context. The other
// settings of the context, such as metadata with a token, are only for the bus of the context.
func (a *App) Settings() (*contexts.Context, error) {
	if a.settings != nil {
		return a.settings, nil
	}
	config, err := contexts.Load(a.ConfigFile())
	if err != nil {
		return nil, err
	}
	name := firstNonEmpty(a.Flags.Context, a.Env("PSRPC_CONTEXT"), config.Current)
	bus := a.Flags.Bus
	if bus == "" && a.Flags.Context == "" {
		bus = a.Env("PSRPC_BUS")
	}
	settings := &contexts.Context{}
	switch {
	case name == "":
	case bus != "":
		// The secrets of the context are not needed, so Find suffices.
		var unused contexts.Context
		unused, err = config.Find(name)
		settings.Redact = unused.Redact
	default:
		settings, err = config.Resolve(name, a.Env)
	}
	if errors.Is(err, contexts.ErrNotFound) {
		return nil, Hint(Exit(ExitUsage, err), "psrpc context ls lists the contexts")
	}
	if err != nil {
		return nil, err
	}
	settings.Bus = firstNonEmpty(bus, settings.Bus)
	if settings.Bus == "" {
		settings.Bus, settings.Monitor = DefaultBus, DefaultMonitor
	}
	settings.Prefix = firstNonEmpty(a.Flags.Prefix, settings.Prefix)
	if len(a.Flags.Proto)+len(a.Flags.DescriptorSet) > 0 {
		settings.Proto, settings.DescriptorSet = a.Flags.Proto, a.Flags.DescriptorSet
	}
	if len(a.Flags.Import) > 0 {
		settings.Import = a.Flags.Import
	}
	if a.Flags.Timeout > 0 {
		settings.Timeout = a.Flags.Timeout
	}
	if settings.Timeout == 0 {
		settings.Timeout = cmp.Or(a.DefaultWait, DefaultTimeout)
	}
	if a.Flags.Bus != "" && a.Flags.Context != "" {
		a.Warnf("--bus names another bus, for which nothing of --context %s is used but redact", a.Flags.Context)
	}
	if contexts.HasPassword(a.Flags.Bus) {
		a.Warnf("other users of this machine can see the password in --bus: use PSRPC_BUS or psrpc context add")
	}
	a.settings = settings
	return settings, nil
}

// schemes contains the schemes of bus URLs that have a driver. checkScheme also accepts longer
// schemes that begin with one of them, such as redis-cluster.
var schemes = []string{"redis", "rediss", "valkey", "valkeys", "unix", "nats", "tls", "local"}

// checkScheme returns an error if the URL of a bus has a scheme without a driver.
func checkScheme(busURL string) error {
	scheme, _, found := strings.Cut(busURL, "://")
	end := strings.IndexAny(scheme+"-", "-+")
	if found && slices.Contains(schemes, scheme[:end]) {
		return nil
	}
	return Usagef("the bus URL must begin with redis://, rediss://, redis-cluster://, redis-sentinel://, unix://, nats:// or tls://")
}

// busURL returns the URL of the bus with the prefix and the monitor as parameters.
func busURL(settings *contexts.Context) (string, error) {
	if err := checkScheme(settings.Bus); err != nil {
		return "", err
	}
	added := url.Values{}
	if settings.Prefix != "" {
		added.Set("prefix", settings.Prefix)
	}
	if isNATS := strings.HasPrefix(settings.Bus, "nats:") || strings.HasPrefix(settings.Bus, "tls:"); isNATS && settings.Monitor != "" {
		added.Set("monitor", settings.Monitor)
	}
	if len(added) == 0 {
		return settings.Bus, nil
	}
	base, query, _ := strings.Cut(settings.Bus, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		// The error of package url is left out, because it may contain a password.
		return "", Usagef("the parameters of the bus URL cannot be parsed: percent-encode their values")
	}
	maps.Copy(values, added)
	return base + "?" + values.Encode(), nil
}

// busHint advises the user what to do if the bus is out of reach.
func busHint(a *App, settings *contexts.Context) string {
	switch {
	case settings.Bus == DefaultBus:
		return "psrpc up starts a bus here; --bus, PSRPC_BUS or a context names another one"
	case a.Flags.Bus == "" && settings.Name != "":
		return "the bus is that of context " + settings.Name
	default:
		return ""
	}
}

// ConfigFile returns the path of the file with the contexts, or "" if the user has no home
// directory.
func (a *App) ConfigFile() string {
	return below(a.userDirectory("XDG_CONFIG_HOME", "AppData", ".config"), "psrpc", "config.yaml")
}

// CacheDir returns the path of the directory in which descriptors are kept, or "" if the user has
// no home directory.
func (a *App) CacheDir() string {
	return below(a.userDirectory("XDG_CACHE_HOME", "LocalAppData", ".cache"), "psrpc", "descriptors")
}

// userDirectory returns the directory in the environment variable named xdg. If that variable is
// not set, it returns the directory in the variable named windows on Windows, and the directory
// home below $HOME on other systems. If that one is not known either, it returns "". It does not
// fall back to the current directory, whose files may belong to other users.
func (a *App) userDirectory(xdg, windows, home string) string {
	if directory := a.Env(xdg); directory != "" {
		return directory
	}
	if runtime.GOOS == "windows" {
		return a.Env(windows)
	}
	return below(a.Env("HOME"), home)
}

// below returns a path below a directory, or "" if directory is empty.
func below(directory string, names ...string) string {
	if directory == "" {
		return ""
	}
	return filepath.Join(directory, filepath.Join(names...))
}

func firstNonEmpty(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}
