package rest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// The gateway must put paths, queries and bodies into the request messages. The servers return
// these, so the responses show them.
func TestAnnotations_SingleCalls(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, tt := range []struct{ name, line, body, want string }{
		{"a variable", "GET /v1/books/go", "", `{"name": "go"}`},
		{"a decoded variable", "GET /v1/books/a%2Fb%20%25c", "", `{"name": "a/b %c"}`},
		{"a variable with a colon", "GET /v1/books/isbn:123", "", `{"name": "isbn:123"}`},
		{"a variable of several segments", "GET /v1/shelves/1/books/2", "", `{"name": "shelves/1/books/2"}`},
		{"an encoded slash in such a variable", "GET /v1/shelves/1%2F2/books/%C3%A4", "", `{"name": "shelves/1%2F2/books/ä"}`},
		{"a variable of any segments", "GET /v1/paths/a/b/c", "", `{"name": "a/b/c"}`},
		{"no segment", "GET /v1/paths", "", `{}`},
		{"a literal that takes precedence", "GET /v1/books/recent?name=x", "", `{"name": "x"}`},
		{"another method with the path of a literal", "DELETE /v1/books/recent", "", `{"name": "recent"}`},
		{"a verb", "POST /v1/books/go:lend", `{"lent": true}`, `{"name": "go", "lent": true}`},
		{"a custom method", "PURGE /v1/books/go", "", `{"name": "go"}`},
		{"numbers in the query", "GET /v1/books/go?pages=9007199254740993&weight=0.5", "", `{"name": "go", "pages": "9007199254740993", "weight": 0.5}`},
		{"other values in the query", "GET /v1/books/go?lent=true&rare=false&genre=NOVEL&cover=_-8", "",
			`{"name": "go", "lent": true, "rare": false, "genre": "NOVEL", "cover": "/+8="}`},
		{"times in the query", "GET /v1/books/go?printed=2026-01-02T03:04:05Z&loan=3s", "",
			`{"name": "go", "printed": "2026-01-02T03:04:05Z", "loan": "3s"}`},
		{"lists in the query", "GET /v1/books/go?tags=a&tags=b&years=1999&years=-5", "", `{"name": "go", "tags": ["a", "b"], "years": [1999, -5]}`},
		{"fields of fields in the query", "GET /v1/books/go?sequel.name=c&sequel.full_title=x&sequel.sequel.genre=1", "",
			`{"name": "go", "sequel": {"name": "c", "fullTitle": "x", "sequel": {"genre": "NOVEL"}}}`},
		{"both names of a field", "GET /v1/books/go?fullTitle=x", "", `{"name": "go", "fullTitle": "x"}`},
		{"unknown names in the query", "GET /v1/books/go?color=red&sequel.color=red&%5Ba.b%5D=1", "", `{"name": "go"}`},
		{"a variable that the query repeats", "GET /v1/books/go?name=rust", "", `{"name": "go"}`},
		{"a message as the body", "POST /v1/books", `{"name": "go", "notes": {"a": "b"}}`, `{"name": "go", "notes": {"a": "b"}}`},
		{"no body", "POST /v1/books", ``, `{}`},
		{"a variable that the body repeats", "POST /v1/books/go:lend", `{"name": "rust"}`, `{"name": "go"}`},
		{"no body beside a variable", "POST /v1/books/go:lend", ``, `{"name": "go"}`},
		{"null beside a variable", "POST /v1/books/go:lend", `null`, `{"name": "go"}`},
		{"a field as the body", "PATCH /v1/books/go?tags=a", `{"full_title": "Go", "name": "?"}`, `{"tags": ["a"], "sequel": {"name": "books/go", "fullTitle": "Go"}}`},
		{"a field without a body", "PATCH /v1/books/go", ``, `{"sequel": {"name": "books/go"}}`},
		{"a field of the response", "GET /v1/books/go/tags?tags=a&tags=b", "", `["a", "b"]`},
		{"an empty field of the response", "GET /v1/books/go/tags", "", `[]`},
		{"text as the body and the response", "PUT /v1/books/go/title", `"Go"`, `"Go"`},
		{"a topic", "GET /v1/rooms/blue", "", `{"name": "blue"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := f.do(t, tt.line, tt.body)
			assert.Equal(t, http.StatusOK, r.status, r.body)
			assert.JSONEq(t, tt.want, r.body)
			assert.Equal(t, "application/json", r.header.Get("Content-Type"))
			assert.NotEmpty(t, r.header.Get(gateway.ServerHeader))
		})
	}
	r := f.do(t, "GET /v1/room?name=x", "", "Psrpc-Topic: blue")
	assert.JSONEq(t, `{"name": "x"}`, r.body, "a path without the topic")
	r = f.do(t, "GET /v1/rooms/blue", "", "Psrpc-Topic: red")
	assert.JSONEq(t, `{"name": "blue"}`, r.body, "a header cannot change the topic of a path")
	r = f.do(t, "POST /library.Library/Get", `{"name": "go"}`, "Content-Type: application/json")
	assert.JSONEq(t, `{"name": "go"}`, r.body, "the paths of methods stay")
}

// The JSON of an empty field is made once, so concurrent calls must not write to it.
func TestAnnotations_EmptyFieldsAtTheSameTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range 10 {
				assert.Equal(t, "[]\n", f.do(t, "GET /v1/books/go/tags", "").body)
			}
		})
	}
	callers.Wait()
}

func TestAnnotations_Refuse(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithStrictJSON(), gateway.WithMaxRequestBytes(100_000))
	for _, tt := range []struct {
		name, line, body string
		status           int
		want             string
	}{
		{"an unknown path", "GET /v1/nothing", "", 404, `"not_found"`},
		{"an empty variable", "GET /v1/books/", "", 404, `"not_found"`},
		{"a hidden method", "GET /v1/hidden", "", 404, `"not_found"`},
		{"another verb", "POST /v1/books/go:sell", "", 405, ``},
		{"an error of the handler", "GET /v1/books/fail%20upstream_client_error", "", 424, `{"code":"upstream_client_error","message":"no such book"}`},
		{"nobody on the topic", "GET /v1/rooms/red", "", 503, `"unavailable"`},
		{"no topic", "GET /v1/room", "", 400, `topic`},
		{"text for a number", "GET /v1/books/go?pages=many", "", 400, `pages`},
		{"a number for a truth value", "GET /v1/books/go?lent=1", "", 400, `neither true nor false`},
		{"an unknown enum value", "GET /v1/books/go?genre=POEM", "", 400, `genre`},
		{"two values for one", "GET /v1/books/go?pages=1&pages=2", "", 400, `has 2 values`},
		{"a message in the query", "GET /v1/books/go?sequel=x", "", 400, `no form as text`},
		{"a map in the query", "GET /v1/books/go?notes=x", "", 400, `no form as text`},
		{"an unknown name, if JSON is strict", "GET /v1/books/go?nme=x", "", 400, `nme`},
		{"a malformed query", "GET /v1/books/go?name=%zz", "", 400, `query is malformed`},
		{"text that is not UTF-8", "GET /v1/books/%ff", "", 400, `not UTF-8`},
		{"a field of the body in the query", "PATCH /v1/books/go?sequel.pages=1", `{}`, 400, `belongs in the body`},
		{"a body that is not JSON", "POST /v1/books", `{`, 400, `"invalid_argument"`},
		{"a field that is not JSON", "PATCH /v1/books/go", `{]`, 400, `not a JSON object`},
		{"text that is not JSON", "PUT /v1/books/go/title", `Go`, 400, `not JSON`},
		{"a body that is no object", "POST /v1/books/go:lend", `[1]`, 400, `not a JSON object`},
		{"more than an object", "POST /v1/books/go:lend", `{} {}`, 400, `not a JSON object`},
		{"too many fields", "POST /v1/books/go:lend", `{"a0":1` + manyFields + `}`, 400, `more than 10000 fields`},
		{"too large a body", "PUT /v1/files/go", strings.Repeat("x", 100_001), 429, `"resource_exhausted"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := f.do(t, tt.line, tt.body)
			assert.Equal(t, tt.status, r.status, r.body)
			assert.Contains(t, r.body, tt.want)
		})
	}
	r := f.do(t, "PUT /v1/books/go", "")
	assert.Equal(t, http.StatusMethodNotAllowed, r.status)
	assert.Equal(t, "DELETE, GET, PATCH, PURGE", r.header.Get("Allow"))
}

// manyFields is the end of a JSON object: 10,000 short fields, which follow a first field.
var manyFields = func() string {
	var b strings.Builder
	for i := range 10_000 {
		b.WriteString(`,"` + strconv.Itoa(i) + `":1`)
	}
	return b.String()
}()

func TestAnnotations_SeveralResponses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.do(t, "GET /v1/everyone/go", "")
	assert.Equal(t, "application/x-ndjson", r.header.Get("Content-Type"))
	assert.Regexp(t, `^(\{"message":\{"name":"go"\},"server":"SRV_\w+"\}\n){2}$`, r.body)
	r = f.do(t, "GET /v1/everyone/go", "", "Accept: text/event-stream")
	assert.Equal(t, 2, strings.Count(r.body, "event: message\n"), r.body)
	assert.Equal(t, 1, strings.Count(r.body, "event: complete\n"), r.body)
	r = f.do(t, "POST /v1/talk", `{"name": "go"} {"name": "bye"}`)
	assert.JSONEq(t, `{"message": {"name": "go"}}`, r.body)
	r = f.do(t, "GET /v1/everyone/fail%20not_found", "", "Psrpc-Expect: 1")
	assert.Contains(t, r.body, `{"error":{"code":"not_found","message":"no such book","server":"SRV_`)
}

func TestAnnotations_Subscription(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, err := f.server.Client().Do(f.request(t, "GET /v1/news/blue", "", "Accept: text/event-stream"))
	require.NoError(t, err)
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	require.True(t, lines.Scan())
	require.Equal(t, ": open", lines.Text())
	require.NoError(t, f.servers[0].Publish(t.Context(), "News", f.book("New"), dynamic.WithTopic("blue")))
	for lines.Scan() {
		if data, found := strings.CutPrefix(lines.Text(), "data: "); found {
			assert.Equal(t, `"New"`, data)
			return
		}
	}
	t.Fatal("the update has not arrived")
}

func TestAnnotations_HTTPBody(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.do(t, "GET /v1/books/go/cover", "")
	assert.Equal(t, "<p>go", r.body)
	assert.Equal(t, "text/html", r.header.Get("Content-Type"))
	assert.Equal(t, "sandbox", r.header.Get("Content-Security-Policy"), "a page of the service may do nothing")
	r = f.do(t, "PUT /v1/files/go", "\x00\xff", "Content-Type: image/png")
	assert.Equal(t, "\x00\xff", r.body)
	assert.Equal(t, "image/png", r.header.Get("Content-Type"))
	r = f.do(t, "GET /v1/books/go/pages", "")
	assert.Equal(t, "one two ", r.body)
	assert.Equal(t, "text/plain", r.header.Get("Content-Type"))
	r = f.do(t, "GET /v1/books/go/pages", "", "Accept: application/x-ndjson")
	assert.Contains(t, r.body, `{"message":{"contentType":"text/plain","data":"b25lIA=="}}`+"\n")

	torn, err := f.server.Client().Do(f.request(t, "GET /v1/books/torn/pages", ""))
	require.NoError(t, err)
	defer torn.Body.Close()
	_, err = io.ReadAll(torn.Body)
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF, "the client knows that pages are missing")
}

// A client that sends its body slowly must get an error when its time is over.
func TestAnnotations_SlowRequests(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithMaxTimeout(50*time.Millisecond))
	for _, http2 := range []bool{false, true} {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(!http2)
		protocols.SetUnencryptedHTTP2(http2)
		client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
		body, end := io.Pipe()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.server.URL+"/v1/books", body)
		require.NoError(t, err)
		r, err := client.Do(request)
		require.NoError(t, err)
		text, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		assert.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
		assert.Contains(t, string(text), `{"code":"deadline_exceeded","message":"the request has not arrived within 50ms`)
		require.NoError(t, r.Body.Close())
		require.NoError(t, end.Close())
		client.CloseIdleConnections()
	}
}

// The authorizer must get the request as the client has sent it, and must be called before the body
// is read.
func TestAnnotations_Authorize(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithAuthorize(func(r *http.Request, method *registry.Method) (context.Context, error) {
		return nil, errors.NewErrorf(errors.PermissionDenied, "%s %s is %s", r.Method, r.URL, method.Name())
	}))
	r := f.do(t, "PATCH /v1/books/go?tags=a", `{`)
	assert.Equal(t, http.StatusForbidden, r.status)
	assert.Contains(t, r.body, "PATCH /v1/books/go?tags=a is Update")
}

func TestAnnotations_WebPagesOfOtherSites(t *testing.T) {
	t.Parallel()
	origin := "Origin: https://app.example"
	f := newFixture(t)
	assert.Equal(t, http.StatusForbidden, f.do(t, "DELETE /v1/books/go", "", origin).status)
	assert.Equal(t, http.StatusForbidden, f.do(t, "GET /v1/books/go", "", origin).status)
	f = newFixture(t, gateway.WithCORS("https://app.example"))
	r := f.do(t, "OPTIONS /v1/books/go", "", origin, "Access-Control-Request-Method: DELETE")
	assert.Equal(t, "https://app.example", r.header.Get("Access-Control-Allow-Origin"))
	r = f.do(t, "DELETE /v1/books/go", "", origin)
	assert.Equal(t, http.StatusOK, r.status)
	assert.Equal(t, "https://app.example", r.header.Get("Access-Control-Allow-Origin"))
}

// A rule that cannot be used must not disable the others.
func TestAnnotations_RulesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := newFixture(t, gateway.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	reg := registry.New()
	parse(t, reg, header+messages+`
		service Odd {
		  rpc Taken(Book) returns (Book) { option (google.api.http) = { get: "/v1/books/{full_title}" }; }
		  rpc Nothing(Book) returns (Book) { option (google.api.http) = { get: "/v2/{color}" }; }
		  rpc List(Book) returns (Book) { option (google.api.http) = { get: "/v2/{tags}" }; }
		  rpc Whole(Book) returns (Book) { option (google.api.http) = { get: "/v2/{sequel}" }; }
		  rpc Text(Book) returns (Book) { option (google.api.http) = { get: "/v2/{name.size}" }; }
		  rpc Syntax(Book) returns (Book) { option (google.api.http) = { get: "/v2/{name" }; }
		  rpc Body(Book) returns (Book) { option (google.api.http) = { post: "/v2" body: "color" }; }
		  rpc Response(Book) returns (Book) { option (google.api.http) = { get: "/v2" response_body: "color" }; }
		  rpc Empty(Book) returns (Book) { option (google.api.http) = { body: "*" }; }
		  rpc Fine(Book) returns (Book) { option (google.api.http) = { get: "/v2/{name}" }; }
		}`)
	odd, _ := reg.Service("library.Odd")
	_, err := f.registry.Register(odd.Descriptor())
	require.NoError(t, err)
	for range 2 {
		assert.Equal(t, http.StatusOK, f.do(t, "GET /v1/books/go", "").status)
		assert.Equal(t, http.StatusServiceUnavailable, f.do(t, "GET /v2/go", "").status, "no server has the service")
		require.True(t, f.registry.Remove("library.Odd"))
		assert.Equal(t, http.StatusNotFound, f.do(t, "GET /v2/go", "").status)
		_, err := f.registry.Register(odd.Descriptor())
		require.NoError(t, err)
	}
	for _, want := range []string{
		"GET /v1/books/{full_title} is a path of library.Library/Get",
		"library.Odd/Nothing: variable color: message library.Book has no field",
		"library.Odd/List: variable tags: field library.Book.tags has no form as text",
		"library.Odd/Whole: variable sequel: field library.Book.sequel has no form as text",
		"library.Odd/Text: variable name.size: field library.Book.name has no fields",
		"column 6: want a variable",
		"library.Odd/Body: body: message library.Book has no field",
		"library.Odd/Response: response_body: message library.Book has no field",
		"library.Odd/Empty: a rule has no path",
	} {
		assert.Contains(t, log.String(), want)
	}
	assert.Equal(t, 2*9, strings.Count(log.String(), "a rule of google.api.http is ignored"), "once whenever the service comes")
}

func TestAnnotations_OpenAPI(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithOpenAPI())
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Parameters  []struct {
				Name     string `json:"name"`
				In       string `json:"in"`
				Required bool   `json:"required"`
			} `json:"parameters"`
			RequestBody any `json:"requestBody"`
			Responses   map[string]struct {
				Content map[string]struct {
					Schema any `json:"schema"`
				} `json:"content"`
			} `json:"responses"`
		} `json:"paths"`
	}
	require.NoError(t, json.Unmarshal([]byte(f.do(t, "GET /openapi.json", "").body), &document))
	get := document.Paths["/v1/books/{name}"]["get"]
	assert.Equal(t, "library.Library.Get.1", get.OperationID)
	assert.Nil(t, get.RequestBody)
	assert.Equal(t, "path name", get.Parameters[0].In+" "+get.Parameters[0].Name)
	assert.True(t, get.Parameters[0].Required)
	var query []string
	for _, parameter := range get.Parameters[1:] {
		assert.Equal(t, "query", parameter.In)
		query = append(query, parameter.Name)
	}
	assert.Equal(t, []string{"cover", "fullTitle", "genre", "lent", "loan", "pages", "printed", "rare", "tags", "weight", "years"}, query)
	assert.NotContains(t, document.Paths["/v1/books/{name}"], "purge", "OpenAPI knows no other HTTP methods")
	assert.Contains(t, document.Paths["/v1/books/{name}"], "delete")
	lend := document.Paths["/v1/books/{name}:lend"]["post"]
	assert.NotNil(t, lend.RequestBody)
	assert.Len(t, lend.Parameters, 1)
	tags := document.Paths["/v1/books/{name}/tags"]["get"]
	assert.Equal(t, map[string]any{"type": "array", "items": map[string]any{"type": "string"}}, tags.Responses["200"].Content["application/json"].Schema)
	assert.Contains(t, document.Paths["/v1/books/{name}/cover"]["get"].Responses["200"].Content, "*/*")
	upload, _ := document.Paths["/v1/files/{name}"]["put"].RequestBody.(map[string]any)
	assert.Contains(t, upload["content"], "*/*")
	assert.Contains(t, document.Paths["/v1/everyone/{name}"]["get"].Responses["200"].Content, "application/x-ndjson")
	assert.Len(t, document.Paths["/v1/{sequel.name}"]["patch"].Parameters, 13)
	assert.Contains(t, document.Paths, "/library.Library/Get")
	assert.NotContains(t, document.Paths, "/v1/hidden")
}
