package wire_test

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// bindings are the variables of a scenario: what stands for the ids and the times of the recording.
type bindings struct {
	ids   map[string]string
	times map[int64]int64
}

func (b bindings) clone() bindings { return bindings{maps.Clone(b.ids), maps.Clone(b.times)} }

// layout tells which fields of a message are variables.
type layout struct {
	ids    []protowire.Number
	sentAt protowire.Number // 0: none
	expiry protowire.Number // 0: none
}

var layouts = map[string]layout{
	typeRequest:       {[]protowire.Number{requestID, requestClient}, requestSentAt, requestExpiry},
	typeResponse:      {[]protowire.Number{responseID, responseServer}, responseSentAt, 0},
	typeClaimRequest:  {[]protowire.Number{claimID, claimServer}, 0, 0},
	typeClaimResponse: {[]protowire.Number{claimID, claimServer}, 0, 0},
	typeStream:        {[]protowire.Number{streamID, streamRequest}, streamSentAt, streamExpiry},
}

// mine makes of a recorded message one to be sent now: with known ids and times where they stand
// for recorded ones, and otherwise with the recorded ids and new times.
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
			b.times[expiry] = now + int64(lifetime(typeName, recorded))
		}
	}
	m = m.with(l.sentAt, func(f *field) { f.bits = uint64(b.times[sentAt]) })
	return m.with(l.expiry, func(f *field) { f.bits = uint64(b.times[expiry]) })
}

// lifetime is the time from the sending of a recorded message to its expiry. Recorded clients
// collected the answers of all servers for a time that is too short for a busy machine: it is
// longer here.
func lifetime(typeName string, recorded message) time.Duration {
	l := layouts[typeName]
	recordedTime := time.Duration(recorded.int64(l.expiry) - recorded.int64(l.sentAt))
	if typeName == typeRequest && recorded.int64(requestMulti) != 0 && recordedTime < time.Second {
		return 5 * recordedTime
	}
	return recordedTime
}

// id returns what stands for a recorded id, the same if it is new.
func (b bindings) id(recorded string) string {
	if _, known := b.ids[recorded]; !known {
		b.ids[recorded] = recorded
	}
	return b.ids[recorded]
}

// match tells whether a message that was seen is the recorded one, and binds its ids and times if
// it is. What it binds otherwise is to be thrown away.
func (b bindings) match(typeName string, recorded, seen message) bool {
	l, want, seen := layouts[typeName], recorded.public(), seen.public()
	if typeName == typeRequest { // a field of newer versions, which older ones ignore
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

// bind reports false if the recorded id stands for another one.
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

// matchTimes takes times that are known, as in acknowledgements, or new ones that are of now and as
// far apart as the recorded ones.
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
	timeout := lifetime(typeName, recorded)
	difference := timeout - time.Duration(seenExpiry-seenSentAt)
	if timeout%(10*time.Millisecond) != 0 { // it was what remained of a context's deadline
		return -time.Millisecond < difference && difference < 450*time.Millisecond
	}
	return difference.Abs() < time.Millisecond
}

// withoutPrivate leaves our fields out of what is embedded in a stream's frame.
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
