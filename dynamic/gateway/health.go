package gateway

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// isReady reports whether the bus is connected, as far as the bus knows.
func (g *Gateway) isReady() bool {
	monitored, ok := g.conn.Bus().(bus.Monitored)
	return !ok || monitored.Stats().Connected
}

// plainHealth returns the handler of /healthz, which says that the process serves HTTP. If ready is
// true, it returns the handler of /readyz, which says whether the bus is connected.
func (g *Gateway) plainHealth(ready bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if ready && !g.isReady() {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("the bus is not connected\n"))
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
}

// healthService is the service of gRPC's health checks; see
// https://github.com/grpc/grpc/blob/master/doc/health-checking.md.
const healthService = "grpc.health.v1.Health"

// healthStatus is a value of the enum ServingStatus.
type healthStatus protoreflect.EnumNumber

const (
	healthServing        healthStatus = 1
	healthNotServing     healthStatus = 2
	healthServiceUnknown healthStatus = 3
)

// healthInterval is how often Watch checks whether the status has changed.
const healthInterval = 500 * time.Millisecond

// healthChecks is the service of gRPC's health checks.
type healthChecks struct {
	gateway *Gateway
	// serves reports whether the gateway serves a service at the moment.
	serves func(service string) bool
}

// statusOf returns the status of a service, or that of the gateway if the name is empty. A service
// that the gateway serves has the status of the gateway. The gateway does not know whether the bus
// has a server for the service at the moment.
func (h *healthChecks) statusOf(service string) healthStatus {
	switch {
	case service != "" && !h.serves(service):
		return healthServiceUnknown
	case h.gateway.isReady():
		return healthServing
	default:
		return healthNotServing
	}
}

// register adds the service to a server.
func (h *healthChecks) register(server *connect.Server) {
	methods := healthFile.Services().Get(0).Methods()
	server.Register(
		connect.Method{
			Spec:    connect.Spec{Procedure: "/" + healthService + "/Check", Schema: methods.ByName("Check")},
			Handler: h.check,
		},
		connect.Method{
			Spec: connect.Spec{
				Procedure: "/" + healthService + "/Watch", Schema: methods.ByName("Watch"), StreamType: connect.StreamTypeServer,
			},
			Handler: h.watch,
		},
	)
}

func (h *healthChecks) check(_ context.Context, _ connect.Spec, stream connect.ServerStream) error {
	service, err := receiveHealthRequest(stream)
	if err != nil {
		return err
	}
	status := h.statusOf(service)
	if status == healthServiceUnknown {
		return connect.Errorf(connect.CodeNotFound, "the gateway does not serve %.200q", service)
	}
	return sendHealth(stream, status)
}

// watch sends the status now and whenever it has changed, until the client goes away.
func (h *healthChecks) watch(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
	service, err := receiveHealthRequest(stream)
	if err != nil {
		return err
	}
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	for last := healthStatus(0); ; {
		if status := h.statusOf(service); status != last {
			if err := sendHealth(stream, status); err != nil {
				return err
			}
			last = status
		}
		select {
		case <-ctx.Done():
			return h.gateway.options.connectError(context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

func receiveHealthRequest(stream connect.ServerStream) (service string, err error) {
	descriptor := healthFile.Messages().ByName("HealthCheckRequest")
	request := dynamicpb.NewMessage(descriptor)
	if err := stream.Receive(request); err != nil {
		return "", err
	}
	return request.Get(descriptor.Fields().ByName("service")).String(), nil
}

func sendHealth(stream connect.ServerStream, status healthStatus) error {
	descriptor := healthFile.Messages().ByName("HealthCheckResponse")
	response := dynamicpb.NewMessage(descriptor)
	response.Set(descriptor.Fields().ByName("status"), protoreflect.ValueOfEnum(protoreflect.EnumNumber(status)))
	return stream.Send(response)
}

// healthFile declares the service of gRPC's health checks. The generated package would link all of
// gRPC into the program.
var healthFile = newHealthFile()

// healthDescriptor is the FileDescriptorProto of healthFile in the text format.
const healthDescriptor = `
name: "grpc/health/v1/health.proto" package: "grpc.health.v1" syntax: "proto3"
message_type {
  name: "HealthCheckRequest"
  field { name: "service" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
}

message_type {
  name: "HealthCheckResponse"
  field {
    name: "status" number: 1 type: TYPE_ENUM label: LABEL_OPTIONAL
    type_name: ".grpc.health.v1.HealthCheckResponse.ServingStatus"
  }
  enum_type {
    name: "ServingStatus"
    value { name: "UNKNOWN" number: 0 } value { name: "SERVING" number: 1 }
    value { name: "NOT_SERVING" number: 2 } value { name: "SERVICE_UNKNOWN" number: 3 }
  }
}

service {
  name: "Health"
  method {
    name: "Check"
    input_type: ".grpc.health.v1.HealthCheckRequest" output_type: ".grpc.health.v1.HealthCheckResponse"
  }
  method {
    name: "Watch" server_streaming: true
    input_type: ".grpc.health.v1.HealthCheckRequest" output_type: ".grpc.health.v1.HealthCheckResponse"
  }
}`

func newHealthFile() protoreflect.FileDescriptor {
	declaration := &descriptorpb.FileDescriptorProto{}
	if err := prototext.Unmarshal([]byte(healthDescriptor), declaration); err != nil {
		panic(err) // this never happens, because the text is a constant
	}
	file, err := protodesc.NewFile(declaration, nil)
	if err != nil {
		panic(err) // as above
	}
	return file
}
