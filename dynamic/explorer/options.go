package explorer

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

const (
	// DefaultRefresh is how often the servers are polled while a page is open.
	DefaultRefresh = 2 * time.Second

	// minRefresh is the minimum interval of polls.
	minRefresh = 100 * time.Millisecond
)

// Action is what a request to the explorer does. The function of [WithAuthorize] decides whether it
// is permitted.
type Action string

// The actions. Requests that go to the gateway are ActionCall, except for GET requests for
// subscriptions and for methods with idempotency_level = NO_SIDE_EFFECTS, which are ActionView.
const (
	ActionView         Action = "view"
	ActionCall         Action = "call"
	ActionWho          Action = "who"
	ActionTap          Action = "tap"
	ActionDoctor       Action = "doctor"
	ActionDrain        Action = "drain"
	ActionResume       Action = "resume"
	ActionSetLogLevel  Action = "log-level"
	ActionReloadPlugin Action = "reload-plugin"
)

// changes reports whether an action may change something on a server.
func (a Action) changes() bool {
	switch a {
	case ActionView, ActionWho, ActionTap, ActionDoctor:
		return false
	default:
		return true
	}
}

// Option configures [New]. Nil options are ignored.
type Option func(*options)

type options struct {
	readOnly  bool
	token     string
	hosts     []string
	refresh   time.Duration
	gateway   string
	doctor    func(context.Context) (any, error)
	authorize func(*http.Request, Action) error
	logger    *slog.Logger
	// answerWait is the constant answerWait, except in tests.
	answerWait time.Duration
}

// WithReadOnly makes the explorer read-only: it refuses the administration of servers, and calls of
// methods that may have side effects. Subscriptions remain possible.
func WithReadOnly() Option { return func(o *options) { o.readOnly = true } }

// WithToken sets the token of the link that [Explorer.LoginURL] returns. It must have at least 16
// characters. By default, each Explorer has a random token, so a link is valid only until the
// program ends. Everyone who knows the token can do everything that the pages can.
func WithToken(token string) Option { return func(o *options) { o.token = token } }

// WithAuthorize sets a function that decides whether a request may do something. It replaces the
// token, so every request that the function permits is served. It must be safe for concurrent use.
// If it returns an error, the client gets the error's code and text.
func WithAuthorize(authorize func(*http.Request, Action) error) Option {
	return func(o *options) { o.authorize = authorize }
}

// WithHosts names hosts, without a port, under which the explorer may be reached in addition to
// localhost and the loopback addresses. "*" stands for every host. The check of the host prevents
// DNS rebinding, by which a page of another site makes its own name resolve to this machine.
func WithHosts(hosts ...string) Option {
	return func(o *options) { o.hosts = append(o.hosts, hosts...) }
}

// WithRefresh sets how often the servers are polled while a page is open. The default is
// [DefaultRefresh], and the minimum is 100 ms. In large fleets, polls are less frequent: the pause
// between two polls is at least twice as long as a poll takes.
func WithRefresh(interval time.Duration) Option {
	return func(o *options) {
		if interval > 0 {
			o.refresh = max(interval, minRefresh)
		}
	}
}

// WithGateway sets the URL under which other tools, such as curl, reach a gateway. The pages show
// it in commands that make the same call. A URL such as "/" is relative to that of the pages.
func WithGateway(url string) Option { return func(o *options) { o.gateway = url } }

// WithDoctor sets the function whose result the page Doctor shows. The result is sent as JSON, with
// the fields that "psrpc doctor -o json" prints. Calls of the function do not overlap, and each may
// take at most a minute.
func WithDoctor(examine func(context.Context) (any, error)) Option {
	return func(o *options) { o.doctor = examine }
}

// WithLogger sets the logger for warnings. The default is slog.Default.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) {
		if logger != nil {
			o.logger = logger
		}
	}
}
