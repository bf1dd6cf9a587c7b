package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestGateway_SingleCallAsJSON(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.post(t, "/shop.Shop/Get", `{"name": "tea", "count": 2}`)
	assert.Equal(t, http.StatusOK, r.status)
	assert.JSONEq(t, `{"name": "tea", "count": 2}`, r.body)
	assert.Contains(t, []string{"SRV_one", "SRV_two"}, r.header.Get(gateway.ServerHeader))
	assert.Equal(t, http.StatusOK, f.post(t, "/shop.Shop/Get", `{}`).status)
	assert.Equal(t, http.StatusOK, f.post(t, "/shop.Shop/Get", `{"unknown": 1}`).status, "unknown fields are ignored")
}

func TestGateway_SingleCallAsProtobuf(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.do(t, http.MethodPost, "/shop.Shop/Get", "\x0a\x03tea\x10\x02", "Content-Type: application/proto")
	assert.Equal(t, http.StatusOK, r.status)
	response := f.item("")
	require.NoError(t, proto.Unmarshal([]byte(r.body), response))
	assert.Equal(t, "tea", nameOf(response))
}

func TestGateway_GetOfMethodsWithoutSideEffects(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	query := "?connect=v1&encoding=json&message=" + url.QueryEscape(`{"name": "tea"}`)
	r := f.do(t, http.MethodGet, "/shop.Shop/Look"+query, "")
	assert.Equal(t, http.StatusOK, r.status)
	assert.JSONEq(t, `{"name": "tea"}`, r.body)
	assert.Equal(t, http.StatusMethodNotAllowed, f.do(t, http.MethodGet, "/shop.Shop/Get"+query, "").status)
}

func TestGateway_Refuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithMaxRequestBytes(1000), gateway.WithStrictJSON())
	for _, tt := range []struct {
		name, path, body string
		headers          []string
		status           int
		want             string
	}{
		{"a method that is not to be served", "/shop.Shop/Hidden", `{}`, nil, 404, `"unimplemented"`},
		{"an unknown method", "/shop.Shop/Nope", `{}`, nil, 404, `serves no`},
		{"an unknown method over SSE", "/shop.Shop/Nope", `{}`, []string{"Content-Type: text/plain", "Accept: text/event-stream"}, 404, `"not_found"`},
		{"an unknown path", "/favicon.ico", ``, []string{"Content-Type: text/plain"}, 404, `"not_found"`},
		{"another content type", "/shop.Shop/Get", ``, []string{"Content-Type: text/plain"}, 415, `Content-Type: application/json`},
		{"a multi call as JSON", "/shop.Shop/Everyone", `{}`, nil, 415, `has the kind multi: accept text/event-stream`},
		{"a stream as JSON over HTTP/1", "/shop.Shop/Talk", `{}`, nil, 505, `has the kind stream: accept text/event-stream`},
		{"malformed JSON", "/shop.Shop/Get", `{`, nil, 400, `"invalid_argument"`},
		{"unknown fields, if JSON is strict", "/shop.Shop/Get", `{"nme": "tea"}`, nil, 400, `nme`},
		{"a request that is too large", "/shop.Shop/Get", `{"name": "` + string(make([]byte, 2000)) + `"}`, nil, 429, `"resource_exhausted"`},
		{"a topic for a method without topics", "/shop.Shop/Get", `{}`, []string{"Psrpc-Topic: a"}, 400, `has no topics`},
		{"a missing topic", "/shop.Shop/InRoom", `{}`, nil, 400, `topic`},
		{"a malformed topic", "/shop.Shop/InRoom", `{}`, []string{"Psrpc-Topic: %zz"}, 400, `percent-encoded`},
		{"a malformed timeout", "/shop.Shop/Get", `{}`, []string{"Connect-Timeout-Ms: soon"}, 400, `soon`},
		{"a malformed selection", "/shop.Shop/Get", `{}`, []string{"Psrpc-Select: best"}, 400, `first;min=0.5`},
		{"a malformed expectation", "/shop.Shop/Everyone", `{}`, []string{"Psrpc-Expect: 0", "Accept: text/event-stream"}, 400, `positive`},
		{"events for a request that is not JSON", "/shop.Shop/Everyone", `[`, []string{"Accept: text/event-stream"}, 400, `not JSON`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := f.post(t, tt.path, tt.body, tt.headers...)
			assert.Equal(t, tt.status, r.status, r.body)
			assert.Contains(t, r.body, tt.want)
		})
	}
}

// The detail ErrorInfo of an error must contain psrpc's code, even if Connect has no such code.
func TestGateway_ErrorsOfConnect(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for code, want := range map[errors.ErrorCode]struct {
		status int
		code   string
	}{
		errors.NotFound:            {404, "not_found"},
		errors.FailedPrecondition:  {400, "failed_precondition"},
		errors.ResourceExhausted:   {429, "resource_exhausted"},
		errors.UnprocessableEntity: {500, "unknown"},
		errors.UpstreamServerError: {500, "internal"},
		errors.Unauthenticated:     {401, "unauthenticated"},
		"tea_is_cold":              {500, "unknown"},
	} {
		r := f.post(t, "/shop.Shop/Get", fmt.Sprintf(`{"name": "fail %s"}`, code))
		assert.Equal(t, want.status, r.status, code)
		assert.Contains(t, r.body, `"code":"`+want.code+`"`)
		assert.Contains(t, r.body, `no fail `+string(code)+` here`)
		assert.Contains(t, r.body, `"type":"google.rpc.ErrorInfo"`)
	}
}

// With WithPsrpcStatus, clients without Connect's header must get psrpc's HTTP status and psrpc's
// code.
func TestGateway_PsrpcStatus(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithPsrpcStatus(), gateway.WithMaxRequestBytes(100))
	r := f.post(t, "/shop.Shop/Get", `{"name": "tea"}`)
	assert.JSONEq(t, `{"name": "tea"}`, r.body)
	assert.NotEmpty(t, r.header.Get(gateway.ServerHeader))
	r = f.post(t, "/shop.Shop/Get", `{"name": "fail upstream_client_error"}`)
	assert.Equal(t, http.StatusFailedDependency, r.status)
	assert.JSONEq(t, `{"code": "upstream_client_error", "message": "no fail upstream_client_error here"}`, r.body)
	r = f.post(t, "/shop.Shop/Get", `{"name": "fail upstream_client_error"}`, "Connect-Protocol-Version: 1")
	assert.Equal(t, http.StatusBadRequest, r.status, "clients of Connect get its status")
	r = f.post(t, "/shop.Shop/Everyone", `{}`)
	assert.Equal(t, http.StatusNotAcceptable, r.status)
	r = f.post(t, "/shop.Shop/Get", `{"name": "`+strings.Repeat("x", 200)+`"}`)
	assert.Equal(t, http.StatusTooManyRequests, r.status)
}

func TestGateway_Topics(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.post(t, "/shop.Shop/InRoom", `{"name": "tea"}`, "Psrpc-Topic: 1/a%2Fb")
	assert.Equal(t, http.StatusOK, r.status, r.body)
	r = f.post(t, "/shop.Shop/InRoom", `{"name": "tea"}`, "Psrpc-Topic: 2/b")
	assert.Equal(t, http.StatusServiceUnavailable, r.status, "nobody serves that topic")
	assert.Contains(t, r.body, `"message":"no response from servers"`, "facts are not for clients")
	f = newFixture(t, gateway.WithErrorFacts())
	r = f.post(t, "/shop.Shop/InRoom", `{"name": "tea"}`, "Psrpc-Topic: 2/b")
	assert.Contains(t, r.body, `"reason":"nobody listening"`)
}

func TestGateway_MetadataFromHeaders(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithMetadataHeaders("X-Tenant"))
	r := f.post(t, "/shop.Shop/Get", `{"name": "metadata"}`,
		"Psrpc-Meta-User: ada", "Traceparent: 00-1", "X-Tenant: t1", "Authorization: secret", "Cookie: secret")
	assert.JSONEq(t, `{"name": "map[traceparent:00-1 user:ada x-tenant:t1]"}`, r.body)
	r = f.post(t, "/shop.Shop/Get", `{"name": "metadata"}`, "Psrpc-Meta-X-Tenant: forged")
	assert.JSONEq(t, `{"name": "map[]"}`, r.body, "a proxy may have removed X-Tenant")
}

// Servers trust the metadata of the authorizer, so the client must not be able to replace it.
func TestGateway_MetadataOfTheAuthorizer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithAuthorize(func(r *http.Request, _ *registry.Method) (context.Context, error) {
		return dynamic.ContextWithMetadata(r.Context(), map[string]string{"user": "ada"}), nil
	}))
	r := f.post(t, "/shop.Shop/Get", `{"name": "metadata"}`, "Psrpc-Meta-User: admin", "Psrpc-Meta-Color: red")
	assert.JSONEq(t, `{"name": "map[color:red user:ada]"}`, r.body)
}

// The gateway must refuse requests from other sites that browsers send without a preflight request.
func TestGateway_WebPagesOfOtherSites(t *testing.T) {
	t.Parallel()
	other := []string{"Origin: https://other.example", "Content-Type: text/plain", "Accept: application/x-ndjson"}
	for _, headers := range [][]string{other, append(other, "Sec-Fetch-Site: cross-site"), {"Sec-Fetch-Site: cross-site", other[2]}} {
		f := newFixture(t)
		assert.Equal(t, http.StatusForbidden, f.post(t, "/shop.Shop/Get", `{}`, headers...).status)
		assert.Equal(t, http.StatusForbidden, f.do(t, http.MethodGet, "/shop.Shop/Look", "", headers...).status)
	}
	f := newFixture(t, gateway.WithCORS("https://other.example"))
	assert.Equal(t, http.StatusOK, f.post(t, "/shop.Shop/Get", `{}`, other...).status)
	assert.Equal(t, http.StatusForbidden, f.post(t, "/shop.Shop/Get", `{}`, "Origin: https://third.example").status)
	f = newFixture(t, gateway.WithCORS("*"))
	assert.Equal(t, http.StatusOK, f.post(t, "/shop.Shop/Get", `{}`, other...).status)
	f = newFixture(t)
	origin := "Origin: " + f.server.URL
	assert.Equal(t, http.StatusOK, f.post(t, "/shop.Shop/Get", `{}`, origin, "Sec-Fetch-Site: same-origin").status)
	assert.Equal(t, http.StatusOK, f.post(t, "/shop.Shop/Get", `{}`, origin).status)
}

// The errors that clients get must not contain the broker's address and user, although the facts of
// a call may.
func TestGateway_ErrorsOfTheBus(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.Equal(t, http.StatusOK, f.post(t, "/shop.Shop/Get", `{}`).status)
	require.NoError(t, f.bus.Close())
	r := f.post(t, "/shop.Shop/Get", `{}`)
	assert.Equal(t, http.StatusServiceUnavailable, r.status, r.body)
	assert.Contains(t, r.body, `"message":"the bus does not take the request"`)
}

func TestGateway_Authorize(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithAuthorize(func(r *http.Request, method *registry.Method) (context.Context, error) {
		if r.Header.Get("Authorization") != "Bearer ok" {
			return nil, errors.NewErrorf(errors.Unauthenticated, "who asks for %s?", method.Name())
		}
		return r.Context(), nil
	}))
	for _, accept := range []string{"*/*", "text/event-stream", "application/x-ndjson"} {
		r := f.post(t, "/shop.Shop/Everyone", `{}`, "Accept: "+accept, "Content-Type: application/json")
		assert.Equal(t, http.StatusUnauthorized, r.status, accept)
		assert.Contains(t, r.body, "who asks for Everyone?")
	}
	assert.Equal(t, http.StatusOK, f.post(t, "/shop.Shop/Get", `{}`, "Authorization: Bearer ok").status)
}

func TestGateway_TimeoutOfTheClient(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.post(t, "/shop.Shop/Get", `{"name": "wait"}`, "Connect-Timeout-Ms: 30")
	assert.Equal(t, http.StatusGatewayTimeout, r.status, r.body)
}

func TestGateway_ResponsesThatAreTooLarge(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithMaxResponseBytes(1<<19))
	r := f.post(t, "/shop.Shop/Get", `{"name": "size 1000000"}`)
	assert.Equal(t, http.StatusTooManyRequests, r.status)
	assert.Contains(t, r.body, "the limit of the gateway is 524288")
}

// The gateway must start to serve services that are added to its registry, and stop serving
// services that are removed.
func TestGateway_FollowsTheRegistry(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.True(t, f.registry.Remove("shop.Shop"))
	assert.Equal(t, http.StatusNotFound, f.post(t, "/shop.Shop/Get", `{}`).status)
	_, err := f.registry.Register(f.service.Descriptor())
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, f.post(t, "/shop.Shop/Get", `{}`).status)
}

func TestGateway_CORSOnlyIfAskedFor(t *testing.T) {
	t.Parallel()
	preflight := []string{"Origin: https://app.example", "Access-Control-Request-Method: POST"}
	closed := newFixture(t)
	r := closed.do(t, http.MethodOptions, "/shop.Shop/Get", "", preflight...)
	assert.Empty(t, r.header.Get("Access-Control-Allow-Origin"))
	open := newFixture(t, gateway.WithCORS("https://app.example"))
	r = open.do(t, http.MethodOptions, "/shop.Shop/Get", "", preflight...)
	assert.Equal(t, "https://app.example", r.header.Get("Access-Control-Allow-Origin"))
	r = open.do(t, http.MethodOptions, "/shop.Shop/Get", "", "Origin: https://other.example", preflight[1])
	assert.Empty(t, r.header.Get("Access-Control-Allow-Origin"))
}

func TestNew_Refuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := gateway.New(nil, f.registry)
	require.ErrorContains(t, err, "the conn or the registry is nil")
	conn, err := dynamic.NewConn(f.bus, f.registry)
	require.NoError(t, err)
	defer conn.Close()
	_, err = gateway.New(conn, f.registry)
	require.ErrorContains(t, err, `use gateway.WithMethods("pkg.Service/*")`)
	_, err = gateway.New(conn, f.registry, gateway.WithMethods("["))
	require.ErrorContains(t, err, "malformed pattern")
	for _, pattern := range []string{"shop.Shop", "/shop.Shop/Get", ""} {
		_, err = gateway.New(conn, f.registry, gateway.WithMethods(pattern))
		require.ErrorContains(t, err, "malformed pattern", pattern)
	}
	for _, origin := range []string{"app.example", "https://*.example", "https://app.example/"} {
		_, err = gateway.New(conn, f.registry, gateway.WithMethods("*/*"), gateway.WithCORS(origin))
		require.ErrorContains(t, err, "of WithCORS is neither", origin)
	}
}
