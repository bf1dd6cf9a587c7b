//go:build !psrpc_oldest

package interop

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	connectv1 "connectrpc.com/connect"
	"github.com/fullstorydev/grpcurl"
	"github.com/jhump/protoreflect/grpcreflect"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit/kinds"
)

// patientLinger is long, because a test requires the last messages even on a busy machine.
const patientLinger = 3 * time.Second

// newGateway returns the address of a gateway in front of a service with a method of every kind.
// linger is how long the gateway waits for the last messages of a stream that its client has ended.
func newGateway(t *testing.T, linger time.Duration) string {
	t.Helper()
	w := kinds.New(t, dynamic.ServiceOptions(), dynamic.ConnOptions())
	gw, err := gateway.New(w.Conn, w.Registry, gateway.WithMethods("kinds.All/*"), gateway.WithReflection(), gateway.WithLinger(linger))
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(nil)
	server.Config = gateway.Server(gw)
	server.Start()
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// The package grpcurl must work with the gateway, using only reflection.
func TestGateway_Grpcurl(t *testing.T) {
	t.Parallel()
	conn, err := grpc.NewClient(newGateway(t, patientLinger), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	reflection := grpcreflect.NewClientAuto(t.Context(), conn)
	t.Cleanup(reflection.Reset)
	source := grpcurl.DescriptorSourceFromServer(t.Context(), reflection)
	services, err := grpcurl.ListServices(source)
	require.NoError(t, err)
	assert.Contains(t, services, "kinds.All")

	for _, tt := range []struct {
		method, request string
		want            string
		responses       int
	}{
		{"One", `{"value": "hi"}`, "hi", 1},
		{"Every", `{"value": "hi"}`, "hi", 1},
		{"Flow", `{"value": "hi"} {"value": "ho"}`, "ho", 2},
	} {
		t.Run(tt.method, func(t *testing.T) {
			var out bytes.Buffer
			parser, formatter, err := grpcurl.RequestParserAndFormatter(grpcurl.FormatJSON, source, strings.NewReader(tt.request), grpcurl.FormatOptions{})
			require.NoError(t, err)
			handler := &grpcurl.DefaultEventHandler{Out: &out, Formatter: formatter}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			require.NoError(t, grpcurl.InvokeRPC(ctx, source, conn, "kinds.All/"+tt.method, nil, handler, parser.Next))
			assert.Equal(t, codes.OK, handler.Status.Code(), handler.Status.Message())
			assert.Equal(t, tt.responses, handler.NumResponses)
			assert.Contains(t, out.String(), tt.want)
		})
	}
}

// The gateway must work with connect-go v1, whose clients protoc-gen-connect-go generates.
func TestGateway_ConnectV1(t *testing.T) {
	t.Parallel()
	address := newGateway(t, patientLinger)
	for name, opts := range map[string][]connectv1.ClientOption{
		"connect": nil, "json": {connectv1.WithProtoJSON()}, "grpc-web": {connectv1.WithGRPCWeb()}, "gzip": {connectv1.WithSendGzip()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			one := connectv1.NewClient[kinds.Text, kinds.Text](client, "http://"+address+"/kinds.All/One", opts...)
			response, err := one.CallUnary(t.Context(), connectv1.NewRequest(&kinds.Text{Value: "hi"}))
			require.NoError(t, err)
			assert.Contains(t, response.Msg.GetValue(), "hi")
			every := connectv1.NewClient[kinds.Text, kinds.Text](client, "http://"+address+"/kinds.All/Every", opts...)
			responses, err := every.CallServerStream(t.Context(), connectv1.NewRequest(&kinds.Text{Value: "hi"}))
			require.NoError(t, err)
			assert.True(t, responses.Receive())
			assert.False(t, responses.Receive())
			require.NoError(t, responses.Err())
		})
	}
}
