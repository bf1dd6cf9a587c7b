package rest_test

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jhump/protoreflect/desc"            //nolint:staticcheck // deprecated, but the printer needs it
	"github.com/jhump/protoreflect/desc/protoprint" //nolint:staticcheck // deprecated, but used deliberately
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway/rest"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const header = `
syntax = "proto3";
package library;
import "options.proto";
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
`

const messages = `
enum Genre { ANY = 0; NOVEL = 1; }

// A book of the library.
message Book {
  string name = 1;
  string full_title = 2;
  int64 pages = 3;
  bool lent = 4;
  Genre genre = 5;
  repeated string tags = 6;
  repeated int32 years = 7;
  google.protobuf.Timestamp printed = 8;
  google.protobuf.Duration loan = 9;
  google.protobuf.BoolValue rare = 10;
  bytes cover = 11;
  double weight = 12;
  Book sequel = 13;
  map<string, string> notes = 14;
}
message File { string name = 1; google.api.HttpBody content = 2; }
`

const library = `
service Library {
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
  rpc Delete(Book) returns (Book) { option (google.api.http) = { delete: "/v1/books/{name}" }; }
  rpc Recent(Book) returns (Book) { option (google.api.http) = { get: "/v1/books/recent" }; }
  rpc Tags(Book) returns (Book) { option (google.api.http) = { get: "/v1/books/{name}/tags" response_body: "tags" }; }
  rpc Title(Book) returns (Book) {
    option (google.api.http) = { put: "/v1/books/{name}/title" body: "full_title" response_body: "full_title" };
  }
  rpc Purge(Book) returns (Book) { option (google.api.http) = { custom: { kind: "PURGE" path: "/v1/books/{name}" } }; }
  rpc Everyone(Book) returns (Book) {
    option (psrpc.options).type = MULTI;
    option (google.api.http) = { get: "/v1/everyone/{name}" };
  }
  rpc Talk(Book) returns (Book) {
    option (psrpc.options).stream = true;
    option (google.api.http) = { post: "/v1/talk" body: "*" };
  }
  rpc News(Book) returns (Book) {
    option (psrpc.options) = { subscription: true type: MULTI topics: true topic_params: { names: "name" } };
    option (google.api.http) = { get: "/v1/news/{name}" response_body: "full_title" };
  }
  rpc InRoom(Book) returns (Book) {
    option (psrpc.options) = { topics: true topic_params: { names: "name" } };
    option (google.api.http) = {
      get: "/v1/rooms/{name}"
      additional_bindings { get: "/v1/room" }
    };
  }
  rpc Cover(Book) returns (google.api.HttpBody) { option (google.api.http) = { get: "/v1/books/{name}/cover" }; }
  rpc Upload(File) returns (File) {
    option (google.api.http) = { put: "/v1/files/{name}" body: "content" response_body: "content" };
  }
  rpc Pages(Book) returns (google.api.HttpBody) {
    option (psrpc.options).stream = true;
    option (google.api.http) = { get: "/v1/books/{name}/pages" };
  }
  rpc Hidden(Book) returns (Book) { option (google.api.http) = { get: "/v1/hidden" }; }
  rpc Look(Book) returns (Book) { option idempotency_level = NO_SIDE_EFFECTS; }
}
`

// googleapis are the files that annotated schemas import.
var googleapis = func() fstest.MapFS {
	files := fstest.MapFS{"google/api/httpbody.proto": {Data: []byte(`
		syntax = "proto3"; package google.api; import "google/protobuf/any.proto";
		message HttpBody { string content_type = 1; bytes data = 2; repeated google.protobuf.Any extensions = 3; }`)}}
	for _, file := range []protoreflect.FileDescriptor{annotations.File_google_api_annotations_proto, annotations.File_google_api_http_proto} {
		wrapped, err := desc.WrapFile(file)
		if err != nil {
			panic(err)
		}
		source, err := new(protoprint.Printer).PrintProtoToString(wrapped)
		if err != nil {
			panic(err)
		}
		files[file.Path()] = &fstest.MapFile{Data: []byte(source)}
	}
	return files
}()

func parse(t testing.TB, reg *registry.Registry, source string) {
	t.Helper()
	files := fstest.MapFS{"library.proto": {Data: []byte(source)}}
	maps.Copy(files, googleapis)
	require.NoError(t, reg.ParseProto(files, "library.proto"))
}

type message = *dynamicpb.Message

// patience is a timeout that no test reaches, however busy the machine is.
const patience = 30 * time.Second

// patient sets timeouts that do not end the calls of a test, however busy the machine is.
var patient = dynamic.ConnOptions(dynamic.WithClientTimeout(patience), dynamic.WithSelectionTimeout(patience))

// fixture is a library on an in-process bus behind a gateway.
type fixture struct {
	registry *registry.Registry
	service  *registry.Service
	servers  []*dynamic.Registration
	server   *httptest.Server
}

// newFixture starts two servers of the library and a gateway for all of its methods but Hidden.
func newFixture(t testing.TB, opts ...gateway.Option) *fixture {
	t.Helper()
	f := &fixture{registry: registry.New()}
	parse(t, f.registry, header+messages+library)
	f.service, _ = f.registry.Service("library.Library")
	b := bus.NewLocal()
	for _, id := range []string{"SRV_one", "SRV_two"} {
		server := dynamic.NewServer(b, dynamic.WithServerID(id))
		t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
		served, err := server.Register(f.service, f.handlers())
		require.NoError(t, err)
		require.NoError(t, served.RegisterTopic("InRoom", "blue"))
		f.servers = append(f.servers, served)
	}
	conn, err := dynamic.NewConn(b, f.registry, patient)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	options := []gateway.Option{gateway.WithMethods("library.*/[^H]*"), rest.WithAnnotations()}
	gw, err := gateway.New(conn, f.registry, append(options, opts...)...)
	require.NoError(t, err)
	f.server = httptest.NewUnstartedServer(nil)
	f.server.Config = gateway.Server(gw)
	f.server.Start()
	t.Cleanup(f.server.Close)
	return f
}

// handlers returns handlers, most of which return their requests. If the name of the book begins
// with "fail", they return an error with the code that follows in the name.
func (f *fixture) handlers() dynamic.Handlers {
	echo := dynamic.Unary(func(_ context.Context, request message) (message, error) {
		if code, found := strings.CutPrefix(nameOf(request), "fail "); found {
			return nil, errors.NewErrorf(errors.ErrorCode(code), "no such book")
		}
		return request, nil
	})
	handlers := dynamic.Handlers{
		"Cover": dynamic.Unary(func(_ context.Context, request message) (message, error) {
			return f.content("text/html", "<p>"+nameOf(request)), nil
		}),
		"Talk": dynamic.Stream(func(stream dynamic.ServerStream[message, message]) error {
			for heard := range stream.Channel() {
				if nameOf(heard) == "bye" {
					return nil
				}
				if err := stream.Send(heard); err != nil {
					return err
				}
			}
			return nil
		}),
		"Pages": dynamic.Stream(func(stream dynamic.ServerStream[message, message]) error {
			wanted := <-stream.Channel()
			for _, page := range []string{"one ", "two "} {
				if err := stream.Send(f.content("text/plain", page)); err != nil {
					return err
				}
			}
			if nameOf(wanted) == "torn" {
				return errors.NewErrorf(errors.DataLoss, "no more pages")
			}
			return nil
		}),
	}
	for _, method := range f.service.Methods() {
		if handlers[method.Name()] == nil && method.Kind() != registry.KindSubscription {
			handlers[method.Name()] = echo
		}
	}
	return handlers
}

// content returns a google.api.HttpBody.
func (f *fixture) content(contentType, data string) message {
	descriptor := f.service.Descriptor().Methods().ByName("Cover").Output()
	body := dynamicpb.NewMessage(descriptor)
	body.Set(descriptor.Fields().ByName("content_type"), protoreflect.ValueOfString(contentType))
	body.Set(descriptor.Fields().ByName("data"), protoreflect.ValueOfBytes([]byte(data)))
	return body
}

func (f *fixture) book(title string) message {
	descriptor := f.service.Descriptor().Methods().ByName("Get").Input()
	book := dynamicpb.NewMessage(descriptor)
	book.Set(descriptor.Fields().ByName("full_title"), protoreflect.ValueOfString(title))
	return book
}

func nameOf(book message) string {
	return book.Get(book.Descriptor().Fields().ByName("name")).String()
}

// response is the response to an HTTP request.
type response struct {
	status int
	header http.Header
	body   string
}

// do sends a request, such as "GET /v1/books/1". Each header is of the form "Name: value".
func (f *fixture) do(t testing.TB, line, body string, headers ...string) response {
	t.Helper()
	r, err := f.server.Client().Do(f.request(t, line, body, headers...))
	require.NoError(t, err)
	defer r.Body.Close()
	content, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return response{status: r.StatusCode, header: r.Header, body: string(content)}
}

func (f *fixture) request(t testing.TB, line, body string, headers ...string) *http.Request {
	t.Helper()
	method, target, _ := strings.Cut(line, " ")
	request, err := http.NewRequestWithContext(t.Context(), method, f.server.URL+target, strings.NewReader(body))
	require.NoError(t, err)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	return request
}
