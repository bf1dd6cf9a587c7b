package fleet

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// The structs in this file are messages of the schema. A tag names the field of the message. The
// types of the fields are converted as message_convert.go describes.

// Server is the answer of a server to a question about itself. Which fields are set depends on the
// parts that were asked for; see [Part].
type Server struct {
	// ID is the server ID; see [dynamic.Server.ID].
	ID string `fleet:"server_id"`
	// Now is the time of the answer, and Started is the time at which the program called [Serve],
	// which is when the counters begin. Both are by the server's clock.
	Now     time.Time `fleet:"now"`
	Started time.Time `fleet:"started"`
	// API is the version of the control service's protocol. It is 1.
	API uint32 `fleet:"api"`
	// Software is the library of the server, such as "dynpsrpc v0.6.0 go1.26.8".
	Software string `fleet:"software"`
	// App and AppVersion name the program of the server.
	App        string `fleet:"app"`
	AppVersion string `fleet:"app_version"`
	// Labels contains the labels that the program has set with [WithLabels], such as a region.
	Labels map[string]string `fleet:"labels"`
	State  State             `fleet:"state"`
	// StateSince is the time when State last changed, by the server's clock. It is the zero time if
	// the server does not report it.
	StateSince time.Time `fleet:"state_since"`
	// Services is set if PartServices, PartStats or PartTopics was asked for.
	Services []Service `fleet:"services"`
	Health   Health    `fleet:"health"`
	Bus      *Bus      `fleet:"bus"`
	Runtime  *Runtime  `fleet:"runtime"`
	Plugins  []Plugin  `fleet:"plugins"`
	// Truncated reports whether the server has left out something that was asked for, because the
	// answer would be too large.
	Truncated bool `fleet:"truncated"`

	// RoundTrip is the time from the question to the answer. The client measures it.
	RoundTrip time.Duration `fleet:"-"`
	// ClockOffset is the time by which the server's clock is ahead of the client's clock. It is
	// negative if the server's clock is behind. Its error is at most half of RoundTrip.
	ClockOffset time.Duration `fleet:"-"`
}

// Service is a service of a [Server].
type Service struct {
	// Name is the full name in the .proto file, such as "my.pkg.MyService".
	Name string `fleet:"name"`
	// WireName is the name on the bus.
	WireName string `fleet:"wire_name"`
	// Digest identifies the descriptors of the service; see [DigestOf].
	Digest  Digest   `fleet:"digest"`
	Methods []Method `fleet:"methods"`
}

// Method is a method of a [Service].
type Method struct {
	// Name is the name in the .proto file.
	Name string `fleet:"name"`
	// WireName is the name on the bus.
	WireName string           `fleet:"wire_name"`
	Kind     registry.Kind    `fleet:"kind"`
	Routing  registry.Routing `fleet:"routing"`
	// RequireClaim reports whether a server must claim a request; see
	// [registry.Method.RequireClaim].
	RequireClaim bool `fleet:"require_claim"`
	// TopicParams contains the names of the parts of a topic.
	TopicParams []string `fleet:"topic_params"`
	// TopicCount is the number of topics for which the server is registered.
	TopicCount uint32 `fleet:"topic_count"`
	// Topics contains topics in sorted order, as many as [MaxTopics] permits, if PartTopics was
	// asked for. The parts of a topic are joined by "|".
	Topics []string `fleet:"topics"`
	// Unimplemented reports whether the server has no handler for the method.
	Unimplemented bool `fleet:"unimplemented"`
	// MaxConcurrent is the maximum number of requests that the server handles at the same time. It
	// is 0 if there is no limit.
	MaxConcurrent uint32 `fleet:"max_concurrent"`
	// Stats is nil unless PartStats was asked for.
	Stats *Stats `fleet:"stats"`
}

// Stats contains the counters of a method. They begin when the program calls [Serve] or registers
// the service, whichever is later. They are kept when the service is replaced, and begin again if
// it is closed and registered again.
type Stats struct {
	// CallsStarted counts the requests and streams that the server has begun to handle. CallsOK
	// counts those that have ended without an error. Errors counts those that have ended with an
	// error, by its code. The server counts at most 64 codes of a method separately, and all others
	// as unknown.
	CallsStarted uint64                      `fleet:"calls_started"`
	CallsOK      uint64                      `fleet:"calls_ok"`
	Errors       map[errors.ErrorCode]uint64 `fleet:"errors"`
	// Declined counts requests that the server did not offer to handle. NotRun counts requests that
	// the server answered with an error without running a handler, for example because a limit was
	// reached; Errors contains them, too. Expired counts requests that arrived too late.
	Declined uint64 `fleet:"declined"`
	NotRun   uint64 `fleet:"not_run"`
	Expired  uint64 `fleet:"expired"`
	// Panics counts panics in handlers, affinity functions and interceptors.
	Panics uint64 `fleet:"panics"`
	// Active is the number of requests and streams that are being handled now.
	Active uint64 `fleet:"active"`
	// RequestBytes and ResponseBytes are the total sizes of all requests and responses, with their
	// envelopes but without compression. Streams are not counted.
	RequestBytes  uint64 `fleet:"request_bytes"`
	ResponseBytes uint64 `fleet:"response_bytes"`
	// Duration says how long calls took on the server. A call ends with the response. It begins
	// when the request arrives or, if requests are claimed, when the client chooses this server.
	// For a stream, it is how long the stream was open.
	Duration         Histogram `fleet:"duration"`
	UpdatesPublished uint64    `fleet:"updates_published"`
	// LastError is nil if there was no error.
	LastError *LastError `fleet:"last_error"`
	// LastCall is the time when the last call ended. It may be up to a millisecond too early.
	LastCall time.Time `fleet:"last_call"`
	// LastAffinity is the affinity of the last claim.
	LastAffinity float32 `fleet:"last_affinity"`
}

// LastError is the error with which a method last failed.
type LastError struct {
	At   time.Time        `fleet:"at"`
	Code errors.ErrorCode `fleet:"code"`
	// Text is at most 200 bytes long. It is empty unless the server's program uses
	// [WithErrorTexts].
	Text string `fleet:"text"`
}

// Histogram counts durations in buckets that grow by the factor 2^(1/8). Bucket i counts the
// durations d with 2^(i/8) < d <= 2^((i+1)/8), in nanoseconds. The zero value is empty.
type Histogram struct {
	// Offset is the index of the first bucket in Counts.
	Offset int32    `fleet:"offset"`
	Counts []uint64 `fleet:"counts"`
	// Sum is the total of all durations.
	Sum time.Duration `fleet:"sum"`
	// Max is the longest duration.
	Max time.Duration `fleet:"max"`
}

// Health is the health of a server, which its health checks and [Status.SetServing] determine.
type Health struct {
	// Status is the status of the whole server.
	Status ServingStatus `fleet:"status"`
	// Services contains the status of those services for which the program has called
	// [Status.SetServing]. The keys are full names.
	Services map[string]ServingStatus `fleet:"services"`
	Checks   []Check                  `fleet:"checks"`
}

// Check is the result of a health check.
type Check struct {
	Name   string        `fleet:"name"`
	Status ServingStatus `fleet:"status"`
	// Text says why the check fails. It is empty unless the server's program uses [WithErrorTexts].
	Text string `fleet:"text"`
	// Since is the time when Status last changed.
	Since time.Time `fleet:"since"`
}

// Bus describes the bus of a server, without its address and user.
type Bus struct {
	// Kind is "redis", "nats" or "local".
	Kind string `fleet:"kind"`
	// The following counters are those of [bus.Stats].
	Connected     bool   `fleet:"connected"`
	Disconnects   uint64 `fleet:"disconnects"`
	Published     uint64 `fleet:"published"`
	PublishErrors uint64 `fleet:"publish_errors"`
	Received      uint64 `fleet:"received"`
	Dropped       uint64 `fleet:"dropped"`
	// Prefix is the prefix of all channels.
	Prefix string `fleet:"prefix"`
	// Modes says how the bus uses the broker, such as "sharded" or "subject_per_method".
	Modes []string `fleet:"modes"`
	// RedisDB is the number of the Redis database.
	RedisDB int32 `fleet:"redis_db"`
	// RTT is the round trip to the broker.
	RTT time.Duration `fleet:"rtt"`
}

// Runtime describes the process of a server.
type Runtime struct {
	Goroutines uint64 `fleet:"goroutines"`
	HeapBytes  uint64 `fleet:"heap_bytes"`
	RSSBytes   uint64 `fleet:"rss_bytes"`
	// CPU is the processor time that the process has used.
	CPU time.Duration `fleet:"cpu"`
	// GCPause is the total time of all pauses of the garbage collector.
	GCPause time.Duration `fleet:"gc_pause"`
	OpenFDs uint64        `fleet:"open_fds"`
	NumCPU  uint32        `fleet:"num_cpu"`
	OS      string        `fleet:"os"`
	Arch    string        `fleet:"arch"`
}

// Plugin describes a plugin of a server. Its fields are those of plugin.Status.
type Plugin struct {
	Name       string    `fleet:"name"`
	Version    string    `fleet:"version"`
	Loader     string    `fleet:"loader"`
	Digest     string    `fleet:"digest"`
	State      string    `fleet:"state"`
	Since      time.Time `fleet:"since"`
	Generation uint32    `fleet:"generation"`
	Services   []string  `fleet:"services"`
	Handled    uint64    `fleet:"handled"`
	Failed     uint64    `fleet:"failed"`
	// Error says why the plugin does not work. It is empty unless the server's program uses
	// [WithErrorTexts].
	Error string `fleet:"error"`
}

// Change is something that has changed on a server.
type Change struct {
	ServerID string `fleet:"server_id"`
	// At is the time of the change by the server's clock.
	At   time.Time  `fleet:"at"`
	Kind ChangeKind `fleet:"kind"`
	// Service is the full name of the service that has changed. It is empty if the change applies
	// to the whole server.
	Service string `fleet:"service"`
	// Digest identifies the descriptors of a service that was added or replaced.
	Digest Digest `fleet:"digest"`
	// Status is the new status if Kind is ChangeHealth.
	Status ServingStatus `fleet:"status"`
	Text   string        `fleet:"text"`
}

// TapRequest selects the events that a tap copies.
type TapRequest struct {
	// Methods contains patterns as for path.Match, such as "Orders/*". They are matched against
	// names on the bus and full names. If it is empty, events of all methods are copied.
	Methods []string `fleet:"methods"`
	// Filter is a condition in the Common Expression Language. Events that do not meet it are left
	// out.
	Filter string `fleet:"filter"`
	// Sample is the fraction of calls that are copied, above 0 and at most 1. If it is 0, all calls
	// are copied.
	Sample float64 `fleet:"sample"`
	// MaxPerSecond is the maximum number of events per second. If it is 0, the maximum is
	// [DefaultTapRate]. It cannot exceed [MaxTapRate].
	MaxPerSecond uint32 `fleet:"max_per_second"`
	// Payloads reports whether messages are copied.
	Payloads bool `fleet:"payloads"`
	// MaxBytes is the maximum size of a copied message in bytes. If it is 0, the maximum is
	// [DefaultTapPayload]. It cannot exceed [MaxTapPayload].
	MaxBytes uint32 `fleet:"max_bytes"`
}

// TapEvent is a copy of something that went through a server.
type TapEvent struct {
	At   time.Time `fleet:"at"`
	Kind TapKind   `fleet:"kind"`
	// Method is the name on the bus, such as "Orders/Get".
	Method    string   `fleet:"method"`
	Topic     []string `fleet:"topic"`
	ClientID  string   `fleet:"client_id"`
	RequestID string   `fleet:"request_id"`
	// Duration says how long the handler took, or how long the stream was open.
	Duration time.Duration    `fleet:"duration"`
	Code     errors.ErrorCode `fleet:"code"`
	Affinity float32          `fleet:"affinity"`
	// Metadata contains the metadata whose keys the server allows.
	Metadata map[string]string `fleet:"metadata"`
	// Payload is the encoded message, without the fields that the server redacts. It is empty if
	// the message was not asked for, if it is too large, or if the server cannot decode it.
	Payload []byte `fleet:"payload"`
	// Size is the size of the message in bytes before the server has redacted it. It is 0 if the
	// tap asks neither for payloads nor for a filter.
	Size uint32 `fleet:"size"`
	// Missed is the number of events that were left out between the previous event and this one.
	Missed uint64 `fleet:"missed"`

	// ServerID is the server that has sent the event. The client sets this field.
	ServerID string `fleet:"-"`
}

// These messages are used only inside this package.
type (
	queryRequest struct {
		Parts       []Part   `fleet:"parts"`
		Services    []string `fleet:"services"`
		MaxTopics   uint32   `fleet:"max_topics"`
		TopicsAfter string   `fleet:"topics_after"`
	}
	describeRequest struct {
		Comments bool `fleet:"comments"`
	}
	describeResponse struct {
		Files []byte `fleet:"files"`
		GZIP  bool   `fleet:"gzip"`
	}
	changesRequest struct{}
	drainRequest   struct{}
	drainResponse  struct {
		State State `fleet:"state"`
	}
	resumeRequest  struct{}
	resumeResponse struct {
		State State `fleet:"state"`
	}
	setLogLevelRequest struct {
		Level string `fleet:"level"`
	}
	setLogLevelResponse struct {
		Previous string `fleet:"previous"`
	}
	reloadPluginRequest struct {
		Name string `fleet:"name"`
	}
	reloadPluginResponse struct {
		Plugin Plugin `fleet:"plugin"`
	}
)

// defaultTopics and maxTopics are the default number and the maximum number of topics that the
// answer to a queryRequest contains for each method.
const defaultTopics, maxTopics = 20, 1000
