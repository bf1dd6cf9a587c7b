package conformance_test

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// bindings maps the IDs and times in the recorded frames to the IDs and times that are used when
// the scenario is replayed.
type bindings struct {
	ids   map[string]string
	times map[int64]int64
	// scale is the factor by which the timeouts are longer than the recorded ones. Most recorded
	// timeouts are too short for a slow machine.
	scale int
}

// scaled returns the timeout that replaces a recorded one.
func (b bindings) scaled(recorded time.Duration) time.Duration {
	return time.Duration(b.scale) * recorded
}

func (b bindings) clone() bindings { return bindings{maps.Clone(b.ids), maps.Clone(b.times), b.scale} }

// layout lists the fields of a message that contain IDs and times.
type layout struct {
	ids    []protowire.Number
	sentAt protowire.Number // 0 if the message has no send time
	expiry protowire.Number // 0 if the message has no expiry
}

var layouts = map[string]layout{
	typeRequest:       {[]protowire.Number{requestID, requestClient}, requestSentAt, requestExpiry},
	typeResponse:      {[]protowire.Number{responseID, responseServer}, responseSentAt, 0},
	typeClaimRequest:  {[]protowire.Number{claimID, claimServer}, 0, 0},
	typeClaimResponse: {[]protowire.Number{claimID, claimServer}, 0, 0},
	typeStream:        {[]protowire.Number{streamID, streamRequest}, streamSentAt, streamExpiry},
}

// mine returns a copy of a recorded message that can be sent now. It replaces the IDs and times
// that are already bound. An unknown ID stays as recorded, and an unknown time is replaced by the
// current time.
func (b bindings) mine(typeName string, recorded message) message {
	l := layouts[typeName]
	m := recorded
	for _, number := range l.ids {
		m = m.with(number, func(f *field) { f.bytes = []byte(b.id(string(f.bytes))) })
	}
	if l.sentAt == 0 {
		return m
	}
	sentAt, expiry := recorded.int64(l.sentAt), recorded.int64(l.expiry)
	if _, known := b.times[sentAt]; !known {
		now := time.Now().UnixNano()
		b.times[sentAt] = now
		if expiry != 0 {
			b.times[expiry] = now + int64(b.lifetime(typeName, recorded))
		}
	}
	m = m.with(l.sentAt, func(f *field) { f.bits = uint64(b.times[sentAt]) })
	return m.with(l.expiry, func(f *field) { f.bits = uint64(b.times[expiry]) })
}

// lifetime returns the time between the sending of a message and its expiry.
func (b bindings) lifetime(typeName string, recorded message) time.Duration {
	l := layouts[typeName]
	return b.scaled(time.Duration(recorded.int64(l.expiry) - recorded.int64(l.sentAt)))
}

// id returns the ID that replaces a recorded ID. If the recorded ID is not bound yet, id binds it
// to itself.
func (b bindings) id(recorded string) string {
	if _, known := b.ids[recorded]; !known {
		b.ids[recorded] = recorded
	}
	return b.ids[recorded]
}

// match reports whether the message seen corresponds to the recorded message, and binds its IDs and
// times. If match returns false, the caller must discard b, because b may be only partly updated.
func (b bindings) match(typeName string, recorded, seen message) bool {
	l, want, seen := layouts[typeName], recorded.public(), seen.public()
	// Remove the field skip_claim, which newer versions of psrpc have. The recorded version ignores
	// it.
	if typeName == typeRequest {
		seen = slices.DeleteFunc(seen, func(f field) bool { return f.number == requestSkipClaim })
	}
	for _, number := range l.ids {
		if !recorded.has(number) {
			continue
		}
		id := seen.text(number)
		if !b.bind(recorded.text(number), id) {
			return false
		}
		want = want.with(number, func(f *field) { f.bytes = []byte(id) })
	}
	if l.sentAt != 0 {
		if !b.matchTimes(typeName, recorded, seen) {
			return false
		}
		want = want.with(l.sentAt, func(f *field) { f.bits = seen.find(l.sentAt).bits })
		want = want.with(l.expiry, func(f *field) { f.bits = seen.find(l.expiry).bits })
	}
	return withoutPrivate(typeName, want).equal(withoutPrivate(typeName, seen))
}

// bind binds a recorded ID to the ID seen. It returns false if either of them is already bound to
// another ID.
func (b bindings) bind(recorded, seen string) bool {
	if known, ok := b.ids[recorded]; ok {
		return known == seen
	}
	if slices.Contains(slices.Collect(maps.Values(b.ids)), seen) {
		return false
	}
	b.ids[recorded] = seen
	return true
}

// matchTimes reports whether the times in the message seen are acceptable. If the recorded times
// are already bound, as in acknowledgements, the times must be the bound ones. Otherwise, they must
// be recent and as far apart as the recorded ones.
func (b bindings) matchTimes(typeName string, recorded, seen message) bool {
	l := layouts[typeName]
	sentAt, expiry := recorded.int64(l.sentAt), recorded.int64(l.expiry)
	seenSentAt, seenExpiry := seen.int64(l.sentAt), seen.int64(l.expiry)
	if known, ok := b.times[sentAt]; ok {
		return known == seenSentAt && b.times[expiry] == seenExpiry
	}
	b.times[sentAt], b.times[expiry] = seenSentAt, seenExpiry
	if time.Since(time.Unix(0, seenSentAt)).Abs() > 2*patience {
		return false
	}
	if l.expiry == 0 {
		return true
	}
	timeout := b.lifetime(typeName, recorded)
	difference := timeout - time.Duration(seenExpiry-seenSentAt)
	// A recorded timeout that is not a multiple of 10 ms was the time remaining until the deadline
	// of a context. On a slow machine, less time remains.
	if timeout%b.scaled(10*time.Millisecond) != 0 {
		return -b.scaled(time.Millisecond) < difference && difference < timeout/2
	}
	return difference.Abs() < time.Millisecond
}

// withoutPrivate removes dynpsrpc's private fields from the message embedded in a stream frame.
func withoutPrivate(typeName string, m message) message {
	if typeName != typeStream {
		return m
	}
	for _, number := range []protowire.Number{streamOpen, streamMessage, streamAck, streamClose} {
		m = m.with(number, func(f *field) {
			if inner, err := parseMessage(f.bytes); err == nil {
				f.bytes = inner.public().encode()
			}
		})
	}
	return m
}
