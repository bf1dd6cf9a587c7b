package dynamic

import (
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// RPCInfo describes a call, stream or subscription to hooks and interceptors.
type RPCInfo struct {
	// Service is the full name of the service in its descriptor, and Method is the simple name of
	// the method.
	Service, Method string
	// Topic holds the parts of the topic. It is empty if the method has no topics. It must not be
	// modified.
	Topic []string
	// Multi reports whether this is a multi call, to which every server responds.
	Multi bool
	// Descriptor is the method from the registry.
	Descriptor *registry.Method

	// client computes the timeout and expiry of single and multi calls on a client. It is set only
	// for the interceptors of such calls.
	client *call.Engine
}

func newRPCInfo(method *registry.Method, topic []string) RPCInfo {
	return RPCInfo{
		Service: string(method.Service().Name()), Method: method.Name(), Topic: topic,
		Multi: method.Kind() == registry.KindMulti, Descriptor: method,
	}
}
