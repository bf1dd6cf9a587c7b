package conformance_test

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// vectorsFolder contains the frames that were recorded from psrpc clients and servers.
const vectorsFolder = "../../internal/wire/testdata/"

// twoMethods is the name of the only scenario with two methods.
const twoMethods = "x_lock_ignores_channel"

// scenario is a recorded exchange of frames between psrpc peers.
type scenario struct {
	Name   string `json:"name"`
	Bus    string `json:"bus"`
	Method struct {
		Service      string   `json:"service"`
		Name         string   `json:"name"`
		Type         string   `json:"type"`
		Topics       []string `json:"topics"`
		Stream       bool     `json:"stream"`
		Subscription bool     `json:"subscription"`
		SingleServer bool     `json:"single_server"`
		RequireClaim bool     `json:"require_claim"`
		Queue        bool     `json:"queue"`
	} `json:"method"`
	Subscriptions []struct {
		Peer string `json:"peer"`
	} `json:"subscriptions"`
	Frames     []recorded `json:"frames"`
	RedisLocks []struct {
		Command []string `json:"command"`
	} `json:"redis_locks"`
	Outcome map[string]any `json:"outcome"`
}

// recorded is a recorded frame.
type recorded struct {
	Seq     int    `json:"seq"`
	From    string `json:"from"`
	Subject string `json:"subject"`
	Payload string `json:"payload_hex"`
	Decoded struct {
		Envelope map[string]any `json:"envelope"`
		Message  map[string]any `json:"message"`
		Triple   channelForms   `json:"channel_triple"` // the channel on the in-process bus
	} `json:"decoded"`
}

// channelForms contains the names of a channel on the different buses.
type channelForms struct {
	Legacy string `json:"legacy"` // the name on Redis and on the in-process bus
	Server string `json:"server"` // the subject on NATS
	Local  string `json:"local"`  // the routing key in the envelope, used only on NATS
}

var loadScenarios = sync.OnceValues(func() (scenarios []*scenario, err error) {
	raw, err := os.ReadFile(vectorsFolder + "vectors.json")
	if err == nil {
		err = json.Unmarshal(raw, &scenarios)
	}
	return scenarios, err
})

// scenarios returns all recorded scenarios. Callers must not modify them.
func scenarios(t testing.TB) []*scenario {
	t.Helper()
	all, err := loadScenarios()
	require.NoError(t, err)
	return all
}

// frame decodes a recorded frame.
func (r recorded) frame(t testing.TB) frame {
	t.Helper()
	f, err := parseFrame(r.Subject, unhex(t, r.Payload))
	require.NoError(t, err)
	return f
}

// target returns the method of the scenario, in a service with the given name.
func (s *scenario) target(service string) target {
	return target{service: service, method: s.Method.Name, topic: s.Method.Topics, queue: s.Method.Queue}
}

// secondTarget returns the second method of the scenario twoMethods, in a service with the given
// name.
func (s *scenario) secondTarget(service string) target {
	return target{service: service, method: "ProcessRegionUpdate", topic: []string{"eu"}, queue: true}
}

// addressOf returns the address of a recorded frame if the service has the given name.
func (s *scenario) addressOf(service string, r recorded, f frame) address {
	to := s.target(service)
	if s.Name == twoMethods && r.Seq == 2 {
		to = s.secondTarget(service)
	}
	switch name := f.typeName(); {
	case name == typeClaimRequest:
		return clientAddress(service, s.clientID(), "CLAIM")
	case name == typeResponse:
		return clientAddress(service, s.clientID(), "RES")
	case name == typeClaimResponse:
		return to.grants()
	case name == typeStream && r.From == "server":
		return clientAddress(service, s.clientID(), "STR")
	case name == typeStream:
		return to.streams()
	default:
		return to.requests()
	}
}

// clientID returns the ID of the recorded client.
func (s *scenario) clientID() string {
	for _, id := range s.peers() {
		if strings.HasPrefix(id, "CLI_") || strings.HasPrefix(id, "ND_cli") {
			return id
		}
	}
	return "CLI_ClientAAAAAA"
}

// serverIDs returns the IDs of the recorded servers, or a default ID if none was recorded.
func (s *scenario) serverIDs() []string {
	ids := map[string]bool{}
	for _, id := range s.peers() {
		if strings.HasPrefix(id, "SRV_") || strings.HasPrefix(id, "ND_srv") {
			ids[id] = true
		}
	}
	// The recording of this scenario contains neither server IDs nor subscriptions.
	if s.Name == "stream_multi_two_servers" {
		ids["SRV_ServerAAAAAA"], ids["SRV_ServerBBBBBB"] = true, true
	}
	if len(ids) == 0 {
		return []string{"SRV_ServerAAAAAA"}
	}
	return slices.Sorted(maps.Keys(ids))
}

// peers returns the IDs of all recorded peers that sent a frame or subscribed.
func (s *scenario) peers() (ids []string) {
	for _, subscription := range s.Subscriptions {
		ids = append(ids, subscription.Peer)
	}
	for _, r := range s.Frames {
		if id, ok := r.Decoded.Message[map[string]string{"client": "client_id", "server": "server_id"}[r.From]].(string); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	decoded, err := hex.DecodeString(text)
	require.NoError(t, err)
	return decoded
}

// The codec of the reference peer must decode each recorded frame to the values in the file, which
// another decoder has written. Encoding must restore the same bytes.
func TestVectors_DecodeAndEncode(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios(t) {
		for _, r := range s.Frames {
			f := r.frame(t)
			assert.Equal(t, f.payload, f.envelope.encode(), s.Name)
			assert.Equal(t, string(f.envelope.bytes(envelopeValue)), string(f.inner.encode()), s.Name)
			assert.Equal(t, r.Decoded.Envelope["type_url"], f.typeURL, s.Name)
			if key, ok := r.Decoded.Envelope["channel"]; ok || f.key != "" {
				assert.Equal(t, key, f.key, s.Name)
			}
			if id, ok := r.Decoded.Message["request_id"]; ok {
				number := map[bool]protowire.Number{true: streamRequest, false: requestID}[f.typeName() == typeStream]
				assert.Equal(t, id, f.inner.text(number), s.Name)
			}
			if f.typeName() == typeClaimRequest {
				assert.InDelta(t, r.Decoded.Message["affinity"], f.inner.float32(claimAffinity), 0, s.Name)
			}
		}
	}
}

// The reference peer must compute the address on which each frame was recorded.
func TestVectors_Addresses(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios(t) {
		for _, r := range s.Frames {
			f := r.frame(t)
			a := s.addressOf(s.Method.Service, r, f)
			if s.Bus == "nats" {
				assert.Equal(t, address{subject: a.subject, key: a.key}, address{subject: r.Subject, key: f.key}, s.Name)
			} else {
				assert.Equal(t, a.name, r.Subject, s.Name)
				assert.Empty(t, f.key, s.Name)
			}
			if s.Bus == "local" {
				assert.Equal(t, r.Decoded.Triple, a.forms(), s.Name)
			}
		}
	}
}
