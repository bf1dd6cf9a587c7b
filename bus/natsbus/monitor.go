package natsbus

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/busurl"
	"github.com/dynpsrpc/dynpsrpc/internal/timer"
)

const (
	// monitorPage is the maximum number of connections or subscriptions in one response of a server.
	monitorPage = 256
	// maxMonitorAnswer is the maximum size of an answer over HTTP, in bytes.
	maxMonitorAnswer = 64 << 20
	// monitorTimeout limits the time for one answer if the context has no earlier deadline.
	monitorTimeout = 5 * time.Second
	// serverListTimeout limits how long a system monitor waits until all servers have answered.
	serverListTimeout = time.Second
)

// monitor asks the NATS servers for information that they do not give to ordinary clients.
type monitor interface {
	// each calls visit for each server, one after the other.
	each(ctx context.Context, visit func(node monitorNode) error) error
}

// monitorNode is one server that a monitor asks.
type monitorNode interface {
	// ask sends q to the server and decodes its response into answer. endpoint is CONNZ, SUBSZ or
	// VARZ.
	ask(ctx context.Context, endpoint string, q question, answer any) error
}

// question contains the parameters of a question to a server. A user of the system account sends it
// as JSON.
type question struct {
	Auth                bool   `json:"auth,omitempty"`
	Subscriptions       bool   `json:"subscriptions,omitempty"`
	SubscriptionsDetail bool   `json:"subscriptions_detail,omitempty"`
	Test                string `json:"test,omitempty"`
	Account             string `json:"account,omitempty"`
	Offset              int    `json:"offset,omitempty"`
	Limit               int    `json:"limit,omitempty"`
}

// values returns the parameters in the form that a monitoring URL needs.
func (q question) values() url.Values {
	values := url.Values{}
	set := func(name, value string, wanted bool) {
		if wanted {
			values.Set(name, value)
		}
	}
	set("auth", "1", q.Auth)
	set("subs", "1", q.Subscriptions)
	set("subs", "detail", q.SubscriptionsDetail)
	set("test", q.Test, q.Test != "")
	set("acc", q.Account, q.Account != "")
	set("offset", strconv.Itoa(q.Offset), q.Offset > 0)
	set("limit", strconv.Itoa(q.Limit), q.Limit > 0)
	return values
}

// page contains the fields that all answers with several pages have in common.
type page struct {
	Server string    `json:"server_id"`
	Now    time.Time `json:"now"`
	Total  int       `json:"total"`
}

func (p *page) header() *page { return p }

// nodeName returns the ID of the server that has sent the page, which serves as its name.
func (p *page) nodeName() string { return p.Server }

type connsPage struct {
	page

	Conns []connInfo `json:"connections"`
}

// connInfo is what a server knows about one connection.
type connInfo struct {
	IP            string             `json:"ip"`
	Port          int                `json:"port"`
	Name          string             `json:"name"`
	Account       string             `json:"account"`
	Start         time.Time          `json:"start"`
	LastActivity  time.Time          `json:"last_activity"`
	Pending       int64              `json:"pending_bytes"`
	NumSubs       int                `json:"subscriptions"`
	Subscriptions []subscriptionInfo `json:"subscriptions_list_detail"`

	// now is the time at which the server has answered.
	now time.Time
}

func (c *connInfo) address() string {
	if c.IP == "" {
		return "" // a connection within the process of the server
	}
	return net.JoinHostPort(c.IP, strconv.Itoa(c.Port))
}

type subscriptionsPage struct {
	page

	Subscriptions []subscriptionInfo `json:"subscriptions_list"`
}

type subscriptionInfo struct {
	Subject string `json:"subject"`
	Queue   string `json:"qgroup"`
}

// pages asks a server for all pages of an answer, and calls visit for each. visit returns the
// number of entries of the page.
func pages[T any, P interface {
	*T
	header() *page
}](ctx context.Context, node monitorNode, endpoint string, q question, visit func(page *T) (entries int)) error {
	q.Limit = monitorPage
	for {
		answer := new(T)
		if err := node.ask(ctx, endpoint, q, answer); err != nil {
			return err
		}
		header := P(answer).header()
		if conns, ok := any(answer).(*connsPage); ok {
			for i := range conns.Conns {
				conns.Conns[i].now = header.Now
			}
		}
		entries := visit(answer)
		q.Offset += entries
		if entries == 0 || q.Offset >= header.Total {
			return nil
		}
	}
}

// newMonitor returns the monitor for the value of [WithMonitor], or nil if the value is empty.
func newMonitor(value string) (monitor, error) {
	if value == "" {
		return nil, nil //nolint:nilnil // a bus without a monitor
	}
	m, err := parseMonitor(value)
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "nats bus: invalid URL of a monitor: %w", err)
	}
	return m, nil
}

// parseMonitor returns the monitor for a URL. Its errors contain no part of the URL that may belong
// to a password.
func parseMonitor(value string) (monitor, error) {
	switch scheme, _, _ := strings.Cut(value, "://"); scheme {
	case "http", "https":
		m := &httpMonitor{}
		for address := range strings.SplitSeq(value, ",") {
			u, err := busurl.Parse(address)
			if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				return nil, errors.New("want http://host:port, or several of them, separated by commas")
			}
			m.urls = append(m.urls, u)
		}
		return m, nil
	case "nats", "tls":
		u, err := busurl.Parse(value)
		if err != nil {
			return nil, errors.New("want nats://user:password@host:port or nats://host:port?creds=file")
		}
		settings, err := parseURL(u)
		if err != nil {
			return nil, err
		}
		return &systemMonitor{url: u, settings: settings}, nil
	default:
		return nil, errors.New("want http://host:8222, or the URL of a user of the system account, such as nats://user:password@host:4222")
	}
}

// httpMonitor asks servers through their HTTP monitoring ports.
type httpMonitor struct{ urls []*url.URL }

func (m *httpMonitor) each(ctx context.Context, visit func(node monitorNode) error) error {
	transport := &http.Transport{DisableKeepAlives: true}
	for _, u := range m.urls {
		if err := visit(&httpNode{url: u, client: &http.Client{Transport: transport, Timeout: monitorTimeout}}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

type httpNode struct {
	url    *url.URL
	client *http.Client
}

func (n *httpNode) ask(ctx context.Context, endpoint string, q question, answer any) error {
	u := n.url.JoinPath(strings.ToLower(endpoint))
	u.RawQuery = q.values().Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return n.unavailable(err)
	}
	response, err := n.client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return n.unavailable(err)
	}
	defer response.Body.Close() //nolint:errcheck // the body has been read
	if response.StatusCode != http.StatusOK {
		return n.unavailable(fmt.Errorf("status %s", response.Status))
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxMonitorAnswer)).Decode(answer); err != nil {
		return n.unavailable(err)
	}
	return nil
}

// unavailable returns the error for a monitoring port that does not answer. The URL may contain a
// password, so only its host is shown.
func (n *httpNode) unavailable(err error) error {
	if withURL, ok := errors.AsType[*url.Error](err); ok {
		err = withURL.Err
	}
	return errors.NewErrorf(errors.Unavailable, "nats bus: the monitoring port %s://%s does not answer: %w", n.url.Scheme, n.url.Host, err)
}

// systemMonitor asks servers as a user of the system account. It opens a new connection for each
// inspection.
type systemMonitor struct {
	url      *url.URL
	settings *settings
}

// systemAnswer is the answer of a server to a user of the system account.
type systemAnswer struct {
	Server struct {
		ID string `json:"id"`
	} `json:"server"`
	Stats struct {
		ActiveServers int `json:"active_servers"`
	} `json:"statsz"`
	Data  json.RawMessage `json:"data"`
	Error struct {
		Description string `json:"description"`
	} `json:"error"`
}

func (m *systemMonitor) each(ctx context.Context, visit func(node monitorNode) error) error {
	nc, closeConn, err := dial(ctx, m.url, m.settings, func(error) {})
	if err != nil {
		return errors.NewErrorf(errors.Unavailable, "nats bus: the monitor cannot connect to %s: %w%s", m.url.Host, err, connectAdvice(err))
	}
	defer closeConn()
	servers, err := listServers(ctx, nc)
	if err != nil {
		return err
	}
	for _, server := range servers {
		if err := visit(&systemNode{nc: nc, server: server}); err != nil {
			return err
		}
	}
	return nil
}

// listServers returns the IDs of the servers that answer in time. Each answer says how many servers
// there are, so listServers knows when all have answered.
func listServers(ctx context.Context, nc *nats.Conn) (servers []string, err error) {
	ctx, cancel := timer.WithTimeout(ctx, serverListTimeout)
	defer cancel()
	inbox := nc.NewInbox()
	answers, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer answers.Unsubscribe() //nolint:errcheck // the connection is closed afterwards
	if err := nc.PublishRequest("$SYS.REQ.SERVER.PING", inbox, nil); err != nil {
		return nil, err
	}
	for active := 1; len(servers) < active; {
		m, err := answers.NextMsgWithContext(ctx)
		switch {
		case err == nil:
		case len(servers) > 0:
			return servers, nil // some servers have not answered in time
		default:
			return nil, errors.NewErrorf(errors.PermissionDenied,
				"nats bus: no server answers the monitor: is its user a user of the system account? %w", err)
		}
		var answer systemAnswer
		if json.Unmarshal(m.Data, &answer) == nil && answer.Server.ID != "" {
			servers = append(servers, answer.Server.ID)
			active = max(active, answer.Stats.ActiveServers)
		}
	}
	return servers, nil
}

type systemNode struct {
	nc     *nats.Conn
	server string
}

func (n *systemNode) ask(ctx context.Context, endpoint string, q question, answer any) error {
	ctx, cancel := timer.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	encoded, err := json.Marshal(q)
	if err != nil {
		return err
	}
	m, err := n.nc.RequestWithContext(ctx, "$SYS.REQ.SERVER."+n.server+"."+endpoint, encoded)
	if err != nil {
		return errors.NewErrorf(errors.Unavailable, "nats bus: server %s does not answer the monitor: %w", n.server, err)
	}
	var outer systemAnswer
	if err := json.Unmarshal(m.Data, &outer); err != nil {
		return errors.NewErrorf(errors.Internal, "nats bus: server %s answers the monitor with something else: %w", n.server, err)
	}
	if outer.Error.Description != "" {
		return errors.NewErrorf(errors.PermissionDenied, "nats bus: server %s: %s", n.server, outer.Error.Description)
	}
	return json.Unmarshal(outer.Data, answer)
}
