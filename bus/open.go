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
)

// Driver makes a bus from a URL. It returns when the bus is usable, or fails by the end of ctx. Its errors do
// not contain the URL's password.
type Driver func(ctx context.Context, u *url.URL) (Bus, error)

var drivers = struct {
	sync.RWMutex
	byScheme map[string]Driver
}{byScheme: map[string]Driver{"local": openLocal}}

// MustRegister makes driver the one that [Open] uses for URLs of scheme. The package that has the driver calls
// it when it is imported. It panics if the scheme is taken.
func MustRegister(scheme string, driver Driver) {
	drivers.Lock()
	defer drivers.Unlock()
	if _, taken := drivers.byScheme[scheme]; taken {
		panic(fmt.Sprintf("bus: a driver for %s:// is already registered", scheme))
	}
	drivers.byScheme[scheme] = driver
}

// Open makes a bus from a URL such as redis://127.0.0.1:6379/0, with the driver registered for its scheme.
// Drivers register by import of their package; the in-process bus needs none: local:// is a new one, and
// local://?max_frame_size=1048576 has a frame limit in bytes.
//
// Open fails if the URL is malformed, if no driver is registered for it (the error lists those that are), or
// as the driver does.
func Open(ctx context.Context, rawURL string) (Bus, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) { // its text repeats the URL, and with it a password
			err = parse.Err
		}
		return nil, errors.NewErrorf(errors.InvalidArgument, "bus URL cannot be parsed: %w", err)
	}
	drivers.RLock()
	driver := drivers.byScheme[u.Scheme]
	schemes := slices.Sorted(maps.Keys(drivers.byScheme))
	drivers.RUnlock()
	if driver == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"no bus driver for scheme %q: registered are %s; others register when their package is imported",
			u.Scheme, strings.Join(schemes, ", "))
	}
	return driver(ctx, u)
}

func openLocal(_ context.Context, u *url.URL) (Bus, error) {
	if u.Host != "" || u.Path != "" || u.Opaque != "" {
		return nil, errors.NewErrorf(errors.InvalidArgument, "bus URL local:// takes neither host nor path")
	}
	var opts []LocalOption
	for key, values := range u.Query() {
		size, err := strconv.Atoi(values[len(values)-1])
		if key != "max_frame_size" || err != nil {
			return nil, errors.NewErrorf(errors.InvalidArgument,
				"bus URL local:// takes max_frame_size, a number of bytes, not %s=%s", key, values[len(values)-1])
		}
		opts = append(opts, WithMaxFrameSize(size))
	}
	return NewLocal(opts...), nil
}
