//go:build !psrpc_oldest

package interop

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"connectrpc.com/vanguard"
	"github.com/jhump/protoreflect/desc"            //nolint:staticcheck // deprecated, but the printer needs it
	"github.com/jhump/protoreflect/desc/protoprint" //nolint:staticcheck // deprecated, but used deliberately
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway/rest"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const books = `
syntax = "proto3";
package books;
import "google/api/annotations.proto";
import "google/protobuf/timestamp.proto";
enum Genre { ANY = 0; NOVEL = 1; }
message Book {
  string name = 1; int64 pages = 2; repeated string tags = 3; Genre genre = 4; google.protobuf.Timestamp printed = 5;
  Book sequel = 6; bool lent = 7; bytes cover = 8; double weight = 9; string full_title = 10;
}
service Books {
  rpc Get(Book) returns (Book) {
    option (google.api.http) = {
      get: "/v1/books/{name}"
      additional_bindings { get: "/v1/{name=shelves/*/books/*}" }
      additional_bindings { get: "/v1/paths/{name=**}" }
    };
  }
  rpc Create(Book) returns (Book) { option (google.api.http) = { post: "/v1/books" body: "*" }; }
  rpc Update(Book) returns (Book) { option (google.api.http) = { patch: "/v1/{sequel.name=books/*}" body: "sequel" }; }
  rpc Lend(Book) returns (Book) { option (google.api.http) = { post: "/v1/books/{name}:lend" body: "*" }; }
  rpc Tags(Book) returns (Book) { option (google.api.http) = { get: "/v1/books/{name}/tags" response_body: "tags" }; }
}
`

// The gateway must treat google.api.http as vanguard does. In this test, vanguard translates the
// same requests to Connect. The two differ in three ways. The gateway refuses empty variables. It
// ignores unknown enum values unless JSON is strict. For a body that is not a JSON object,
// vanguard's status is 500.
func TestRest_AgreesWithVanguard(t *testing.T) {
	t.Parallel()
	reg := registry.New()
	files := fstest.MapFS{"books.proto": {Data: []byte(books)}}
	for _, file := range []protoreflect.FileDescriptor{annotations.File_google_api_annotations_proto, annotations.File_google_api_http_proto} {
		wrapped, err := desc.WrapFile(file)
		require.NoError(t, err)
		source, err := new(protoprint.Printer).PrintProtoToString(wrapped)
		require.NoError(t, err)
		files[file.Path()] = &fstest.MapFile{Data: []byte(source)}
	}
	require.NoError(t, reg.ParseProto(files, "books.proto"))
	service, err := reg.FindService("books.Books")
	require.NoError(t, err)
	b := bus.NewLocal()
	server := dynamic.NewServer(b)
	t.Cleanup(func() { assert.NoError(t, server.Shutdown(context.Background())) })
	handlers := dynamic.Handlers{}
	for _, method := range service.Methods() {
		handlers[method.Name()] = dynamic.Unary(func(_ context.Context, book *dynamicpb.Message) (*dynamicpb.Message, error) {
			return book, nil
		})
	}
	_, err = server.Register(service, handlers)
	require.NoError(t, err)
	conn, err := dynamic.NewConn(b, reg, dynamic.WithClientTimeout(callTimeout), dynamic.WithSelectionTimeout(callTimeout))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	gw, err := gateway.New(conn, reg, gateway.WithMethods("books.Books/*"), rest.WithAnnotations())
	require.NoError(t, err)
	transcoder, err := vanguard.NewTranscoder([]*vanguard.Service{vanguard.NewServiceWithSchema(service.Descriptor(), gw,
		vanguard.WithTargetProtocols(vanguard.ProtocolConnect),
		vanguard.WithRESTUnmarshalOptions(vanguard.RESTUnmarshalOptions{DiscardUnknownQueryParams: true}))})
	require.NoError(t, err)

	for _, tt := range []struct{ line, body string }{
		{"GET /v1/books/go", ""},
		{"GET /v1/books/a%20b", ""},
		{"GET /v1/shelves/1/books/2", ""},
		{"GET /v1/shelves/1/books/%C3%A4", ""},
		{"GET /v1/paths/a/b/c", ""},
		{"GET /v1/nothing", ""},
		{"PUT /v1/books/go", ""},
		{"GET /v1/books/go?pages=9007199254740993&tags=a&tags=b&genre=NOVEL&lent=true&weight=0.5&cover=_-8", ""},
		{"GET /v1/books/go?genre=1&printed=2026-01-02T03:04:05Z&fullTitle=x&color=red", ""},
		{"GET /v1/books/go?full_title=x&sequel.sequel.name=c", ""},
		{"GET /v1/books/go?pages=many", ""},
		{"GET /v1/books/go?lent=1", ""},
		{"GET /v1/books/go?sequel=x", ""},
		{"POST /v1/books", `{"name": "go", "sequel": {"fullTitle": "x"}}`},
		{"POST /v1/books", `{`},
		{"POST /v1/books/go:lend", `{"name": "rust", "lent": true}`},
		{"PATCH /v1/books/go?tags=a", `{"name": "?", "pages": 1}`},
		{"GET /v1/books/go/tags?tags=a", ""},
		{"GET /v1/books/go/tags", ""},
	} {
		t.Run(tt.line, func(t *testing.T) {
			status, body := serve(t, gw, tt.line, tt.body)
			wantStatus, want := serve(t, transcoder, tt.line, tt.body)
			assert.Equal(t, wantStatus, status, body)
			if status == http.StatusOK {
				assert.JSONEq(t, want, body)
			}
		})
	}
}

// serve returns the status and the body of the response to a request, such as "GET /v1/books/1".
func serve(t *testing.T, handler http.Handler, line, body string) (int, string) {
	t.Helper()
	method, target, _ := strings.Cut(line, " ")
	request := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, request)
	content, err := io.ReadAll(w.Result().Body)
	require.NoError(t, err)
	return w.Code, string(content)
}
