package explorer

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
)

// site is a web site with an empty page and a gateway in front of two shops.
type site struct {
	*page

	url   string
	shops []*shop
}

// newSite opens the page of a new site.
func newSite(t testing.TB, opts ...gateway.Option) *site {
	t.Helper()
	s := &site{page: newPage(t)}
	b := bus.NewLocal()
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	s.shops = []*shop{openShop(t, b, "SRV_one", "attic"), openShop(t, b, "SRV_two", "a/b")}
	s.shops[0].publishNews(t)
	reg := parseShop(t)
	conn, err := dynamic.NewConn(b, reg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	gw, err := gateway.New(conn, reg, append(opts, gateway.WithMethods("shop.*/*"))...)
	require.NoError(t, err)
	s.url = serve(t, withPage(gw))
	s.open(s.url)
	return s
}

// withPage returns a handler that serves an empty page at /, and passes all other requests to
// handler.
func withPage(handler http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>A site</title>`))
	})
	mux.Handle("/", handler)
	return mux
}

// answer is the answer to a request that a page has sent with fetch.
type answer struct {
	Status int
	Type   string
	Server string
	Body   string
}

// post sends a request with fetch. headers contains all headers except the content type.
func (s *site) post(path, body string, headers map[string]string) answer {
	s.t.Helper()
	return eval[answer](s.page, `(async () => {
		const response = await fetch(%s, {method: 'POST', body: %s, headers: {'Content-Type': 'application/json', ...%s}});
		return {
			Status: response.status, Type: response.headers.get('Content-Type'), Server: response.headers.get('Psrpc-Server') ?? '',
			Body: await response.text(),
		};
	})()`, path, body, headers)
}

func TestGateway_Fetch(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.expectFailures()
	got := s.post("/shop.Shop/Get", `{"name": "tea", "made": "2026-01-02T03:04:05Z"}`, nil)
	assert.Equal(t, http.StatusOK, got.Status, got.Body)
	assert.Contains(t, []string{"SRV_one", "SRV_two"}, got.Server)
	assert.JSONEq(t, `{"name": "tea", "made": "2026-01-02T03:04:05Z", "stock": {"`+got.Server+`": 1}}`, got.Body)

	got = s.post("/shop.Shop/InRoom", `{"name": "tea"}`, map[string]string{"Psrpc-Topic": "1/a%2Fb"})
	assert.Equal(t, "SRV_two", got.Server, got.Body)
	got = s.post("/shop.Shop/Get", `{"name": "fail not_found"}`, nil)
	assert.Equal(t, http.StatusNotFound, got.Status)
	assert.Contains(t, got.Body, `"code":"not_found"`)
	assert.Equal(t, "application/json", got.Type)

	got = s.post("/shop.Shop/Everyone", `{"name": "tea"}`, map[string]string{"Accept": "application/x-ndjson", "Psrpc-Expect": "2"})
	assert.Equal(t, 2, strings.Count(got.Body, `{"message":`), got.Body)
	got = s.post("/shop.Shop/Talk", `{"name": "one"} {"name": "two"} {"name": "bye"}`, map[string]string{"Accept": "text/event-stream"})
	assert.Contains(t, got.Body, "event: message\nid: 2\ndata: {\"name\":\"you said two\"}", got.Body)
	assert.Contains(t, got.Body, "event: complete")
}

// If a page is reloaded, or a fetch is aborted, the calls of the page must be canceled.
func TestGateway_FetchIsAborted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	running := func() int32 { return s.shops[0].waiting.Load() + s.shops[1].waiting.Load() }
	const start = `void (abort = new AbortController(), fetch('/shop.Shop/Get', {
		method: 'POST', body: '{"name": "wait"}', headers: {'Content-Type': 'application/json'}, signal: abort.signal,
	}).catch(() => {}))`
	for _, end := range []string{"void abort.abort()", "void location.reload()"} {
		eval[chromedp.Void](s.page, "globalThis.abort = null")
		eval[chromedp.Void](s.page, start)
		require.Eventually(t, func() bool { return running() == 1 }, patience, pollInterval)
		eval[chromedp.Void](s.page, end)
		require.Eventually(t, func() bool { return running() == 0 }, patience, pollInterval, end)
	}
}

func TestGateway_EventSource(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	news := eval[[]string](s.page, `new Promise((resolve, reject) => {
		const source = new EventSource('/shop.Shop/News');
		const news = [];
		source.onmessage = (event) => {
			news.push(event.lastEventId + ' ' + JSON.parse(event.data).name);
			if (news.length === 3) { source.close(); resolve(news); }
		};
		source.onerror = reject;
	})`)
	for i, text := range news {
		assert.Regexp(t, "^"+string(rune('1'+i))+" news [0-9]+$", text)
	}

	events := eval[[]string](s.page, `new Promise((resolve) => {
		const source = new EventSource('/shop.Shop/Look?message=' + encodeURIComponent('{"name": "tea & milk"}'));
		const events = [];
		source.onmessage = (event) => events.push(JSON.parse(event.data).name);
		source.onerror = () => events.push('error');
		source.addEventListener('complete', () => { source.close(); resolve(events); });
	})`)
	assert.Equal(t, []string{"tea & milk"}, events)
}

// The gateway must refuse the request of an EventSource that could repeat a call with side effects.
func TestGateway_EventSourceIsForReading(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.expectFailures()
	state := eval[int](s.page, `new Promise((resolve) => {
		const source = new EventSource('/shop.Shop/Get?message={}');
		source.onerror = () => resolve(source.readyState);
	})`)
	assert.Equal(t, 2, state, "closed: the browser does not try again")
	assert.Zero(t, s.shops[0].calls.Load()+s.shops[1].calls.Load())
}

func TestGateway_WebSocket(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	// talk opens a WebSocket. It sends the first message at once, and each further one when a
	// message arrives. It returns all received frames and the close code.
	const talk = `new Promise((resolve) => {
		const [path, sent] = [%s, %s];
		const socket = new WebSocket(location.origin.replace('http', 'ws') + path, 'psrpc.v1');
		const frames = [];
		const next = () => { if (sent.length > 0) socket.send(JSON.stringify(sent.shift())); };
		socket.onopen = next;
		socket.onmessage = (event) => { frames.push(JSON.parse(event.data)); next(); };
		socket.onclose = (event) => resolve({frames, code: event.code, protocol: socket.protocol});
	})`
	type frame struct {
		Message *struct{ Name string }
		Error   *struct{ Code, Message string }
		End     bool
	}
	type conversation struct {
		Frames   []frame
		Code     int
		Protocol string
	}
	said := func(text string) map[string]any { return map[string]any{"message": map[string]any{"name": text}} }

	got := eval[conversation](s.page, talk, "/shop.Shop/Talk", []any{said("one"), said("two"), said("bye")})
	require.Len(t, got.Frames, 3)
	assert.Equal(t, "you said one", got.Frames[0].Message.Name)
	assert.Equal(t, "you said two", got.Frames[1].Message.Name)
	assert.Equal(t, frame{End: true}, got.Frames[2])
	assert.Equal(t, 1000, got.Code)
	assert.Equal(t, gateway.Subprotocol, got.Protocol)

	got = eval[conversation](s.page, talk, "/shop.Shop/InRoom?topic=1/a%252Fb", []any{said("tea")})
	require.Len(t, got.Frames, 2)
	assert.Equal(t, "tea", got.Frames[0].Message.Name)
	got = eval[conversation](s.page, talk, "/shop.Shop/Get", []any{said("fail out_of_range")})
	require.Len(t, got.Frames, 2)
	require.NotNil(t, got.Frames[0].Error, "%+v", got.Frames[0].Message)
	assert.Equal(t, "out_of_range", got.Frames[0].Error.Code)
	assert.Contains(t, got.Frames[0].Error.Message, "the shop has no")
}

// Pages of other sites must not make calls, not even calls whose responses they could not read.
func TestGateway_OtherSites(t *testing.T) {
	t.Parallel()
	const try = `(async () => {
		const url = %s;
		const read = (options) => fetch(url + '/shop.Shop/Get', {method: 'POST', body: '{}', ...options})
			.then(async (response) => response.status + ' ' + response.headers.get('Psrpc-Server'), () => 'refused');
		const answers = [
			await read({headers: {'Content-Type': 'application/json'}}),
			// A browser sends this request without a preflight request.
			await read({mode: 'no-cors', headers: {'Content-Type': 'text/plain', 'Accept': 'text/event-stream'}}),
		];
		answers.push(await new Promise((resolve) => {
			const socket = new WebSocket(url.replace('http', 'ws') + '/shop.Shop/Talk', 'psrpc.v1');
			socket.onopen = () => { socket.close(); resolve('open'); };
			socket.onerror = () => resolve('refused');
		}));
		answers.push(await new Promise((resolve) => {
			const source = new EventSource(url + '/shop.Shop/News');
			source.onmessage = () => { source.close(); resolve('news'); };
			source.onerror = () => { source.close(); resolve('refused'); };
		}));
		return answers;
	})()`
	for name, allowed := range map[string]bool{"refused": false, "allowed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := serve(t, withPage(http.NotFoundHandler()))
			var opts []gateway.Option
			if allowed {
				opts = append(opts, gateway.WithCORS(other))
			}
			s := newSite(t, opts...)
			s.expectFailures()
			s.complaintsExpected = "blocked by CORS policy"
			s.open(other)
			answers := eval[[]string](s.page, try, s.url)
			if !allowed {
				// The page cannot see the status of the response to the second request.
				assert.Equal(t, []string{"refused", "0 null", "refused", "refused"}, answers)
				assert.Zero(t, s.shops[0].calls.Load()+s.shops[1].calls.Load())
				return
			}
			assert.Regexp(t, "^200 SRV_", answers[0])
			assert.Equal(t, []string{"0 null", "open", "news"}, answers[1:])
			require.Eventually(t, func() bool { return s.shops[0].calls.Load()+s.shops[1].calls.Load() == 2 }, patience, time.Millisecond)
		})
	}
}
