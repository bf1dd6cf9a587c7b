package fleet

import (
	"context"
	"maps"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// maxLabels is the maximum number of labels of a server.
	maxLabels = 32
	// maxChecks is the maximum number of health checks of a server.
	maxChecks = 32
)

// Verb is a kind of request to the control services. The function passed to [WithAuthorize] decides
// which clients may use it.
type Verb string

// The verbs of the control services.
const (
	VerbQuery        Verb = "query"
	VerbDescribe     Verb = "describe"
	VerbTap          Verb = "tap"
	VerbDrain        Verb = "drain"
	VerbResume       Verb = "resume"
	VerbSetLogLevel  Verb = "log-level"
	VerbReloadPlugin Verb = "reload-plugin"
)

// ServeOption configures [Serve]. Nil options are ignored.
type ServeOption func(*serveOptions)

type serveOptions struct {
	app, appVersion string
	labels          map[string]string
	checks          []*check
	authorize       func(ctx context.Context, verb Verb) error
	// errorTexts reports whether answers contain the texts of errors.
	errorTexts bool
	plugins    func() []Plugin
	// tap and admin are nil unless WithTap and WithAdmin are used.
	tap   *tapOptions
	admin *adminOptions
	// bounds is defaultBounds, except in tests.
	bounds serveBounds
	// problems contains an error for each invalid option.
	problems []error
}

// serveBounds contains the longest times for which a server waits for the bus.
type serveBounds struct {
	// publish limits how long publishing a change may take on a busy bus. It is short because
	// Shutdown waits until two changes are published.
	publish time.Duration
	// scopes is the longest time for which the answer to a query waits until the scopes of a new
	// service are registered.
	scopes time.Duration
	// roundTrip limits how long an answer waits for the broker to measure the round trip.
	roundTrip time.Duration
}

// defaultBounds contains the bounds of each new server. Only tests change them.
var defaultBounds = serveBounds{
	publish: 200 * time.Millisecond, scopes: 500 * time.Millisecond, roundTrip: 200 * time.Millisecond,
}

func newServeOptions(opts []ServeOption) (o serveOptions) {
	o.bounds = defaultBounds
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.admin != nil && o.authorize == nil {
		o.problemf("WithAdmin lets clients change the server, so it needs WithAuthorize, which says who may")
	}
	if o.tap != nil && o.authorize == nil {
		o.problemf("WithTap lets clients watch messages, so it needs WithAuthorize, which says who may")
	}
	return o
}

// problemf adds an error about an invalid option.
func (o *serveOptions) problemf(format string, args ...any) {
	o.problems = append(o.problems, errors.NewErrorf(errors.InvalidArgument, "fleet.Serve: "+format, args...))
}

// WithApp sets the name and the version of the program, for example "shop" and "1.4.2".
func WithApp(name, version string) ServeOption {
	return func(o *serveOptions) { o.app, o.appVersion = name, version }
}

// WithLabels sets labels that describe this server, for example its host and region. There may be
// at most 32 labels. The map is copied. If the option is used several times, the labels are merged.
// Every client that may read from the bus can see them.
func WithLabels(labels map[string]string) ServeOption {
	return func(o *serveOptions) {
		if o.labels == nil {
			o.labels = map[string]string{}
		}
		maps.Copy(o.labels, labels)
		if len(o.labels) > maxLabels {
			o.problemf("there are %d labels, want at most %d", len(o.labels), maxLabels)
		}
	}
}

// WithCheck adds a health check. The function run is called at once and then repeatedly. The
// argument every is both the pause after each call and the timeout of each call. If the function
// returns an error, panics, or has not returned when its context ends, the server is reported as
// not serving. Each check runs on a goroutine of its own. There may be at most 32 checks.
//
// A failing check does not stop the server from accepting requests. It is only reported.
func WithCheck(name string, every time.Duration, run func(ctx context.Context) error) ServeOption {
	return func(o *serveOptions) {
		switch {
		case name == "":
			o.problemf("WithCheck: the name is empty")
		case every <= 0:
			o.problemf("WithCheck: check %q: the interval is %v, want more than 0", name, every)
		case run == nil:
			o.problemf("WithCheck: check %q: the function is nil", name)
		case len(o.checks) == maxChecks:
			o.problemf("WithCheck: there are more than %d checks", maxChecks)
		default:
			for _, other := range o.checks {
				if other.name == name {
					o.problemf("WithCheck: there are two checks with the name %q", name)
					return
				}
			}
			o.checks = append(o.checks, &check{name: name, every: every, run: run})
		}
	}
}

// WithAuthorize sets the function that decides whether a client may make a request to the control
// services. ctx is the context of the request, so [dynamic.RequestInfoFromContext] returns the
// client's ID and metadata. If the function returns an error, the client receives this error. By
// default, every client that may publish to the control service gets an answer. [WithTap] and
// [WithAdmin] require the function. It must be safe for concurrent use. It does not decide which
// clients receive a [Change]: every client that may subscribe to changes receives them.
func WithAuthorize(authorize func(ctx context.Context, verb Verb) error) ServeOption {
	return func(o *serveOptions) { o.authorize = authorize }
}

// WithErrorTexts includes the texts of errors in the answers of the server: the last error of each
// method, and the errors of failing health checks and plugins. The texts are left out by default,
// because they may contain user data. A text is cut to 200 bytes.
func WithErrorTexts() ServeOption {
	return func(o *serveOptions) { o.errorTexts = true }
}

// WithPlugins sets the function that lists the plugins of the program. It is called for each
// question about plugins and must be safe for concurrent use. The example shows how to make the
// function from a plugin.Host.
func WithPlugins(list func() []Plugin) ServeOption {
	return func(o *serveOptions) { o.plugins = list }
}

// WithTap lets clients watch what goes through the server; see [Fleet.Tap]. The server sends them
// copies of what it handles, and logs which clients watch it. Up to [MaxTaps] clients can watch it
// at the same time, each with up to [MaxTapRate] events per second and a quarter of one processor.
// Secret fields are removed; see [Redact]. While no client watches, calls cost no more than usual.
//
// The function passed to [WithAuthorize] decides, for the verb [VerbTap], which clients may watch.
// Without it, [Serve] fails.
//
// By default, no client can watch the server.
func WithTap(opts ...TapOption) ServeOption {
	return func(o *serveOptions) { o.tap = newTapOptions(opts) }
}

// WithAdmin lets clients drain and resume the server (see [Fleet.Drain]), and make the changes that
// the options permit. The function passed to [WithAuthorize] decides which clients may do so;
// without it, [Serve] fails. Every permitted change is logged, with its error if it has failed.
//
// By default, no client can change the server.
func WithAdmin(opts ...AdminOption) ServeOption {
	return func(o *serveOptions) { o.admin = newAdminOptions(opts) }
}
