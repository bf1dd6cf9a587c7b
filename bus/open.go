package bus

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/backoff"
	"github.com/dynpsrpc/dynpsrpc/internal/busurl"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// Driver creates a bus from a URL. It returns when the bus is ready for use, or returns an error if
// ctx ends first. Errors must not contain the password from the URL. [LoggerFromContext] returns
// the logger that the bus must use.
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
// By default, Open makes only one attempt to reach the broker. The parameter wait, for example
// redis://127.0.0.1:6379?wait=30s, makes Open try again until the broker is reachable. Once this
// time has passed, Open makes no further attempt and returns the error of the last one. Open tries
// again only after errors with code unavailable. It removes the parameter from the URL that it
// passes to the driver.
//
// Reserved characters in the user name and the password must be percent-encoded. For example, a
// slash becomes %2F. The function url.UserPassword encodes both.
//
// Open returns an error if the URL is malformed, if the driver fails, or if no driver is registered
// for the scheme. In the last case, the error suggests which package to import. The error of a
// driver contains the address of the broker and often says what to check. Its code is unavailable
// if the broker is not reachable, and unauthenticated if the broker refuses the credentials. No
// error repeats a part of the URL that may belong to a password.
func Open(ctx context.Context, rawURL string, opts ...OpenOption) (Bus, error) {
	if ctx == nil {
		return nil, nilarg.ErrContext
	}
	var o openOptions
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.logger != nil {
		ctx = context.WithValue(ctx, loggerKey{}, o.logger)
	}
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
	u, wait, err := takeWait(u)
	if err != nil {
		return nil, err
	}
	return openWithin(ctx, wait, func() (Bus, error) { return driver(ctx, u) })
}

// takeWait returns the value of the URL parameter wait, and the URL without the parameter.
func takeWait(u *url.URL) (*url.URL, time.Duration, error) {
	query, err := busurl.Query(u)
	value, found := busurl.Take(query, "wait")
	if err != nil || !found {
		return u, 0, nil //nolint:nilerr // the driver reports malformed parameters
	}
	wait, err := time.ParseDuration(value)
	if err != nil || wait < 0 {
		// The error does not repeat the value, which may belong to a password.
		return nil, 0, errors.NewErrorf(errors.InvalidArgument,
			"bus URL %s://: parameter wait must be a duration such as 30s", u.Scheme)
	}
	withoutWait := *u
	withoutWait.RawQuery = query.Encode()
	return &withoutWait, wait, nil
}

// openBackoff determines the pause between two attempts to open a bus.
var openBackoff = backoff.Backoff{Min: 50 * time.Millisecond, Max: time.Second}

// openWithin calls open repeatedly. It returns when open succeeds or fails with a code other than
// unavailable, or when ctx ends. Once wait has passed, it also returns after any failure.
func openWithin(ctx context.Context, wait time.Duration, open func() (Bus, error)) (Bus, error) {
	start := time.Now()
	for attempt := 1; ; attempt++ {
		b, err := open()
		remaining := wait - time.Since(start)
		if err == nil || remaining <= 0 || ctx.Err() != nil || !isUnavailable(err) {
			return b, err
		}
		if attempt == 1 {
			LoggerFromContext(ctx).Warn("dynpsrpc: waiting for the broker", slog.Duration("at_most", wait), slog.Any("error", err))
		}
		if !backoff.Sleep(ctx, min(remaining, openBackoff.Jittered(attempt))) {
			return nil, errors.NewErrorf(errors.FromContext(ctx.Err()).Code(), "%w: %w", ctx.Err(), err)
		}
	}
}

// isUnavailable reports whether the code of err is unavailable. The codes of errors that err wraps
// do not count.
func isUnavailable(err error) bool {
	coded, ok := errors.AsType[errors.Error](err)
	return ok && coded.Code() == errors.Unavailable
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
func openLocal(ctx context.Context, u *url.URL) (Bus, error) {
	if u.Host != "" || u.Path != "" || u.Opaque != "" {
		return nil, errors.NewErrorf(errors.InvalidArgument, "bus URL local:// takes neither host nor path")
	}
	opts := []LocalOption{WithLocalLogger(LoggerFromContext(ctx))}
	query := u.Query()
	for key := range query {
		value, _ := busurl.Last(query, key)
		size, err := strconv.Atoi(value)
		if key != "max_frame_size" || err != nil {
			return nil, errors.NewErrorf(errors.InvalidArgument,
				"bus URL local:// takes max_frame_size, a number of bytes, and no other parameter")
		}
		opts = append(opts, WithMaxFrameSize(size))
	}
	return NewLocal(opts...), nil
}
