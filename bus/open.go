package bus

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/busurl"
)

// Driver creates a bus from a URL. It returns when the bus is ready for use, or returns an error if
// ctx ends first. Errors must not contain the password from the URL.
type Driver func(ctx context.Context, u *url.URL) (Bus, error)

var drivers = struct {
	sync.RWMutex
	byScheme map[string]Driver
}{byScheme: map[string]Driver{"local": openLocal}}

// MustRegister registers the driver that [Open] uses for URLs with the given scheme. Driver
// packages call it from an init function. It panics if a driver is already registered for scheme.
func MustRegister(scheme string, driver Driver) {
	drivers.Lock()
	defer drivers.Unlock()
	if _, registered := drivers.byScheme[scheme]; registered {
		panic(fmt.Sprintf("bus: a driver for %s:// is already registered", scheme))
	}
	drivers.byScheme[scheme] = driver
}

// Open creates a bus from a URL such as redis://127.0.0.1:6379/0, using the driver registered for
// the URL's scheme. Drivers register themselves when their package is imported. The in-process bus
// needs no import: local:// creates a new one. local://?max_frame_size=1048576 also sets its
// maximum frame size, in bytes.
//
// Reserved characters in the user name and the password must be percent-encoded. For example, a
// slash becomes %2F. The function url.UserPassword encodes both.
//
// Open returns an error if the URL is malformed, if the driver fails, or if no driver is registered
// for the scheme. In the last case, the error suggests which package to import. No error repeats a
// part of the URL that may belong to a password.
func Open(ctx context.Context, rawURL string) (Bus, error) {
	u, err := busurl.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	drivers.RLock()
	driver := drivers.byScheme[u.Scheme]
	schemes := slices.Sorted(maps.Keys(drivers.byScheme))
	drivers.RUnlock()
	if driver == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "no bus driver for scheme %q: %s; registered: %s",
			u.Scheme, importHint(u.Scheme), strings.Join(schemes, ", "))
	}
	return driver(ctx, u)
}

// importHint returns advice on what to do if no driver is registered for scheme. It becomes part of
// Open's error.
func importHint(scheme string) string {
	const path = `add import _ "github.com/dynpsrpc/dynpsrpc/bus/`
	kind, _, _ := strings.Cut(scheme, "-")
	kind, _, _ = strings.Cut(kind, "+")
	switch kind {
	case "redis", "rediss", "valkey", "valkeys", "unix":
		return path + `redisbus"`
	case "nats", "tls":
		return path + `natsbus"`
	case "":
		return "want a URL such as local://, redis://host:port or nats://host:port"
	default:
		return "import the package that registers it"
	}
}

// openLocal is the driver for the in-process bus.
func openLocal(_ context.Context, u *url.URL) (Bus, error) {
	if u.Host != "" || u.Path != "" || u.Opaque != "" {
		return nil, errors.NewErrorf(errors.InvalidArgument, "bus URL local:// takes neither host nor path")
	}
	var opts []LocalOption
	for key, values := range u.Query() {
		size, err := strconv.Atoi(values[len(values)-1])
		if key != "max_frame_size" || err != nil {
			return nil, errors.NewErrorf(errors.InvalidArgument,
				"bus URL local:// takes max_frame_size, a number of bytes, and no other parameter")
		}
		opts = append(opts, WithMaxFrameSize(size))
	}
	return NewLocal(opts...), nil
}
