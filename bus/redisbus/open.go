package redisbus

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/busurl"
)

func init() { //nolint:gochecknoinits // drivers register when the package is imported, as in database/sql
	for suffix, newClient := range map[string]clientFunc{"": newSingle, "-sentinel": newSentinel, "-cluster": newCluster} {
		for _, name := range []string{"redis", "valkey"} {
			bus.MustRegister(name+suffix, newDriver("redis", newClient))
			bus.MustRegister(name+"s"+suffix, newDriver("rediss", newClient))
		}
	}
	for _, scheme := range []string{"unix", "redis+unix", "valkey+unix"} {
		bus.MustRegister(scheme, newDriver(unixScheme, newSingle))
	}
}

// unixScheme is the scheme of URLs that contain the path of a Unix socket.
const unixScheme = "unix"

// clientFunc creates a client from a URL that go-redis can parse.
type clientFunc func(u *url.URL, files tlsFiles) (redis.UniversalClient, error)

func newSingle(u *url.URL, files tlsFiles) (redis.UniversalClient, error) {
	if u.Query().Has("addr") {
		return nil, errors.New("several hosts need the scheme redis-cluster:// or redis-sentinel://")
	}
	options, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, parserError(u, err)
	}
	if err := files.apply(options.TLSConfig); err != nil {
		return nil, err
	}
	options.Dialer = newDialer(options.DialTimeout, options.TLSConfig)
	return redis.NewClient(options), nil
}

func newSentinel(u *url.URL, files tlsFiles) (redis.UniversalClient, error) {
	u = withSentinelUser(u)
	options, err := redis.ParseFailoverURL(u.String())
	switch {
	case err != nil:
		return nil, parserError(u, err)
	case options.MasterName == "":
		return nil, errors.New("parameter master_name is missing")
	case options.RouteByLatency || options.RouteRandomly:
		return nil, errors.New("route_by_latency and route_randomly do not apply: the bus uses the master only")
	}
	if err := files.apply(options.TLSConfig); err != nil {
		return nil, err
	}
	options.Dialer = newDialer(options.DialTimeout, options.TLSConfig)
	return redis.NewFailoverClient(options), nil
}

// withSentinelUser moves the parameters sentinel_username and sentinel_password to the place where
// go-redis expects them, which is before the host.
func withSentinelUser(u *url.URL) *url.URL {
	query := u.Query()
	if !query.Has("sentinel_username") && !query.Has("sentinel_password") {
		return u
	}
	moved := *u
	moved.User = url.UserPassword(query.Get("sentinel_username"), query.Get("sentinel_password"))
	query.Del("sentinel_username")
	query.Del("sentinel_password")
	moved.RawQuery = query.Encode()
	return &moved
}

func newCluster(u *url.URL, files tlsFiles) (redis.UniversalClient, error) {
	options, err := redis.ParseClusterURL(u.String())
	if err != nil {
		return nil, parserError(u, err)
	}
	if err := files.apply(options.TLSConfig); err != nil {
		return nil, err
	}
	options.Dialer = newDialer(options.DialTimeout, options.TLSConfig)
	return redis.NewClusterClient(options), nil
}

// parameters contains the query parameters that set options of the bus, each with the function that
// parses its value. takeTLSFiles handles the parameters of TLS, and go-redis all others.
var parameters = map[string]func(value string) (Option, error){
	"prefix":          func(value string) (Option, error) { return WithPrefix(value), nil },
	"probe_interval":  parsedOption(time.ParseDuration, WithProbeInterval),
	"connect_timeout": parsedOption(time.ParseDuration, WithConnectTimeout),
	"publish_queue":   parsedOption(strconv.Atoi, WithPublishQueue),
	"max_frame_size":  parsedOption(strconv.Atoi, WithMaxFrameSize),
	"sharded": parsedOption(strconv.ParseBool, func(on bool) Option {
		return func(o *options) { o.sharded = on }
	}),
}

// parsedOption returns a function that parses the value of a parameter and returns the
// corresponding option.
func parsedOption[T any](parse func(string) (T, error), option func(T) Option) func(string) (Option, error) {
	return func(value string) (Option, error) {
		v, err := parse(value)
		return option(v), err
	}
}

// newDriver returns a driver that creates its Redis clients with newClient. scheme is the scheme
// that go-redis expects in the URL: redis, rediss or unix. The URLs are described in the package
// documentation.
func newDriver(scheme string, newClient clientFunc) bus.Driver {
	return func(ctx context.Context, u *url.URL) (bus.Bus, error) {
		clientURL, files, opts, err := splitURL(u, scheme)
		if err != nil {
			return nil, urlError(u, err)
		}
		client, err := newClient(clientURL, files)
		if err != nil {
			return nil, urlError(u, err)
		}
		opts = append(opts, WithLogger(bus.LoggerFromContext(ctx)), func(o *options) { o.ownsClient = true })
		b, err := newBus(ctx, client, opts)
		if err != nil {
			_ = client.Close() // ignore this error, because err already describes the failure
			return nil, err
		}
		return b, nil
	}
}

// urlError returns the error for a URL that the driver cannot use. Besides the text of err, the
// error contains only the scheme and the host, because all other parts of the URL may contain a
// password. The URL of a Unix socket has no host.
func urlError(u *url.URL, err error) error {
	if strings.HasSuffix(u.Scheme, unixScheme) {
		return errors.NewErrorf(errors.InvalidArgument, "redis bus: invalid URL %s://: %w", u.Scheme, err)
	}
	return errors.NewErrorf(errors.InvalidArgument, "redis bus: invalid URL %s://%s: %w", u.Scheme, u.Host, err)
}

// parserError converts an error of go-redis' parser. It omits the parameter values that the
// parser's error repeats, because they may be parts of a password. If a password contains a ? that
// is not percent-encoded, everything after the ? is parsed as parameters.
func parserError(u *url.URL, err error) error {
	problem, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "redis: "), ":")
	if problem != "unexpected option" {
		return errors.New(problem)
	}
	var names []string
	for name, values := range u.Query() {
		if busurl.IsParameterName(name) && values[0] != "" && strings.Contains(err.Error(), name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return fmt.Errorf("unknown parameters, or a ? in the password that is not percent-encoded: %s", strings.Join(names, ", "))
}

// splitURL splits u into a URL for go-redis, the names of the files for TLS, and the options of the
// bus. The returned URL has the given scheme instead of that of u, because go-redis does not know
// schemes such as valkey. The first host stays in the URL. All others become addr parameters, as
// go-redis expects.
func splitURL(u *url.URL, scheme string) (*url.URL, tlsFiles, []Option, error) {
	query, err := busurl.Query(u)
	if err != nil {
		return nil, tlsFiles{}, nil, err
	}
	files, err := takeTLSFiles(query)
	if err != nil {
		return nil, files, nil, err
	}
	clientURL := *u
	clientURL.Scheme = scheme
	if scheme == unixScheme {
		err = checkSocketPath(u)
	} else {
		clientURL.Host, err = firstHost(u, query)
	}
	if err != nil {
		return nil, files, nil, err
	}
	var opts []Option
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		value, found := busurl.Take(query, name)
		if !found {
			continue
		}
		option, err := parameters[name](value)
		if err != nil {
			// err is not wrapped, because its text repeats the value, which may belong to a
			// password.
			return nil, files, nil, fmt.Errorf("parameter %s cannot be parsed", name)
		}
		opts = append(opts, option)
	}
	clientURL.RawQuery = query.Encode()
	return &clientURL, files, opts, nil
}

// firstHost returns the first host of u, and adds the other ones to query.
func firstHost(u *url.URL, query url.Values) (string, error) {
	if database := strings.Trim(u.Path, "/"); strings.Trim(database, "0123456789") != "" {
		return "", errors.New("invalid database number: want scheme://host:port/0, and percent-encode a / in the password")
	}
	hosts := strings.Split(u.Host, ",")
	if hosts[0] == "" {
		return "", errors.New("host is missing")
	}
	for _, host := range hosts[1:] {
		query.Add("addr", host)
	}
	return hosts[0], nil
}

// checkSocketPath checks that u contains the path of a socket and no host.
func checkSocketPath(u *url.URL) error {
	if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
		return errors.New("want the path of a socket after three slashes, such as unix:///run/redis.sock?db=0," +
			" and percent-encode a / in the password")
	}
	return nil
}
