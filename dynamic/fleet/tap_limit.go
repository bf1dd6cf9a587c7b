package fleet

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// The limits of a tap. They apply to what one server sends to one client.
const (
	// DefaultTapRate is the maximum number of events per second unless the client asks for another
	// number.
	DefaultTapRate = 100
	// MaxTapRate is the highest number of events per second for which a client can ask.
	MaxTapRate = 1_000
	// DefaultTapPayload is the maximum size of a payload, in bytes, unless the client asks for
	// another size. Larger payloads are left out.
	DefaultTapPayload = 4 << 10
	// MaxTapPayload is the largest size of a payload, in bytes, for which a client can ask.
	MaxTapPayload = 64 << 10
	// maxTapQueue limits the number of events that wait to be sent, and maxTapQueueBytes limits the
	// total size of their payloads in bytes.
	maxTapQueue      = 512
	maxTapQueueBytes = 2 << 20
	// examinedPerEvent is how many events a server may examine for each event that it may send, if
	// the client has set a filter. A filter usually rejects most events.
	examinedPerEvent = 20
	// MaxTaps is the maximum number of clients that watch a server at the same time.
	MaxTaps = 4
	// maxTapMethods is the maximum number of patterns in TapRequest.Methods, and maxTapPattern the
	// maximum length of each in bytes.
	maxTapMethods, maxTapPattern = 64, 256
	// maxTapText is the maximum length, in bytes, of an ID or a metadata value in an event. Peers
	// may send longer ones.
	maxTapText = 1 << 10
	// workShare and maxWork limit the time that a server spends on decoding, redacting and
	// filtering events for one client. On average, it may be 1/workShare of the elapsed time. In a
	// burst, it may be up to maxWork.
	workShare, maxWork = 4, 250 * time.Millisecond
)

// rateLimiter allows a number of events in each second. It is not safe for concurrent use.
type rateLimiter struct {
	max    int
	second int64
	used   int
}

// allow reports whether one more event is allowed. now is the current time.
func (l *rateLimiter) allow(now time.Time) bool {
	if second := now.Unix(); second != l.second {
		l.second, l.used = second, 0
	}
	if l.used >= l.max {
		return false
	}
	l.used++
	return true
}

// workLimiter limits the time that the work for one client takes. It is not safe for concurrent
// use.
type workLimiter struct {
	// debt is the time that the work has taken, minus 1/workShare of the time that has elapsed. It
	// is at least 0.
	debt    time.Duration
	updated time.Time
}

// allow reports whether more work may begin. now is the current time.
func (l *workLimiter) allow(now time.Time) bool {
	l.debt = max(l.debt-now.Sub(l.updated)/workShare, 0)
	l.updated = now
	return l.debt < maxWork
}

// isSampled reports whether the events of a request or stream belong to the sample. share is the
// fraction of requests in the sample, in the range (0,1]. All servers choose the same requests, so
// the events of a request are either all in the sample or all left out. Events without an ID are
// chosen at random.
func isSampled(requestID []byte, share float64) bool {
	switch {
	case share >= 1:
		return true
	case len(requestID) == 0:
		return rand.Float64() < share //nolint:gosec // the choice need not be unpredictable
	}
	hash := fnv.New64a()
	_, _ = hash.Write(requestID)
	mixed := hash.Sum64()
	// The upper bits of an FNV hash depend little on the last bytes, in which IDs differ most. The
	// bits of the hash are therefore mixed.
	mixed ^= mixed >> 33
	mixed *= 0xff51afd7ed558ccd
	mixed ^= mixed >> 33
	return float64(mixed) < share*math.MaxUint64
}

// methodPatterns holds patterns of methods, for example "Orders/*". A pattern is matched against
// the wire name and the full name of the service, each with and without the name of the method.
type methodPatterns []string

// newMethodPatterns checks the patterns of a request.
func newMethodPatterns(patterns []string) (methodPatterns, error) {
	if len(patterns) > maxTapMethods {
		return nil, errors.NewErrorf(errors.InvalidArgument, "%d patterns of methods are more than %d", len(patterns), maxTapMethods)
	}
	for _, pattern := range patterns {
		if len(pattern) > maxTapPattern {
			return nil, errors.NewErrorf(errors.InvalidArgument, "pattern %.50q…: it has more than %d bytes", pattern, maxTapPattern)
		}
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, errors.NewErrorf(errors.InvalidArgument, "pattern %.200q: %w", pattern, err)
		}
	}
	return patterns, nil
}

// match reports whether a pattern matches the method. Without patterns, every method matches.
func (p methodPatterns) match(method *registry.Method) bool {
	service := method.Service()
	return p.matchAny(service.WireName()+"/"+method.WireName(), string(service.Name())+"/"+method.Name(),
		service.WireName(), string(service.Name()))
}

// matchAny reports whether a pattern matches one of the names. Without patterns, all names match.
func (p methodPatterns) matchAny(names ...string) bool {
	return len(p) == 0 || slices.ContainsFunc(p, func(pattern string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			matched, err := path.Match(pattern, name)
			return matched && err == nil
		})
	})
}

// Selects reports whether a tap with this request may copy events of a method of the service. Events
// of the services of this package are never copied; see [IsControlService].
func (r *TapRequest) Selects(service *Service) bool {
	names := []string{service.Name, service.WireName}
	for i := range service.Methods {
		method := &service.Methods[i]
		names = append(names, service.Name+"/"+method.Name, service.WireName+"/"+method.WireName)
	}
	return !IsControlService(service.WireName) && methodPatterns(r.Methods).matchAny(names...)
}
