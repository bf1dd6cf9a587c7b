package wire_test

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

// vectorsFolder has what psrpc's own peers were seen to send.
const vectorsFolder = "../../internal/wire/testdata/"

// twoMethods is the scenario that has a second method.
const twoMethods = "x_lock_ignores_channel"

// scenario is one recorded exchange.
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

// recorded is one recorded frame.
type recorded struct {
	Seq     int    `json:"seq"`
	From    string `json:"from"`
	Subject string `json:"subject"`
	Payload string `json:"payload_hex"`
	Decoded struct {
		Envelope map[string]any `json:"envelope"`
		Message  map[string]any `json:"message"`
		Triple   channelForms   `json:"channel_triple"` // on the in-process bus
	} `json:"decoded"`
}

// channelForms are a channel on the different buses.
type channelForms struct {
	Legacy string `json:"legacy"` // Redis and in-process
	Server string `json:"server"` // NATS
	Local  string `json:"local"`  // inside the envelope on NATS
}

var loadScenarios = sync.OnceValues(func() (scenarios []*scenario, err error) {
	raw, err := os.ReadFile(vectorsFolder + "vectors.json")
	if err == nil {
		err = json.Unmarshal(raw, &scenarios)
	}
	return scenarios, err
})

// scenarios returns the recorded scenarios, which must not be changed.
func scenarios(t testing.TB) []*scenario {
	t.Helper()
	all, err := loadScenarios()
	require.NoError(t, err)
	return all
}

// frame takes a recorded frame apart.
func (r recorded) frame(t testing.TB) frame {
	t.Helper()
	f, err := parseFrame(r.Subject, unhex(t, r.Payload))
	require.NoError(t, err)
	return f
}

// target is the scenario's method in a service of that name.
func (s *scenario) target(service string) target {
	return target{service: service, method: s.Method.Name, topic: s.Method.Topics, queue: s.Method.Queue}
}

// secondTarget is the other method of the one scenario that has two.
func (s *scenario) secondTarget(service string) target {
	return target{service: service, method: "ProcessRegionUpdate", topic: []string{"eu"}, queue: true}
}

// addressOf is where a recorded frame goes, if the service has that name.
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

// clientID is the id of the recorded client.
func (s *scenario) clientID() string {
	for _, id := range s.peers() {
		if strings.HasPrefix(id, "CLI_") || strings.HasPrefix(id, "ND_cli") {
			return id
		}
	}
	return "CLI_ClientAAAAAA"
}

// serverIDs are the ids of the servers that have sent or that were seen to subscribe, at least one.
func (s *scenario) serverIDs() []string {
	ids := map[string]bool{}
	for _, id := range s.peers() {
		if strings.HasPrefix(id, "SRV_") || strings.HasPrefix(id, "ND_srv") {
			ids[id] = true
		}
	}
	if s.Name == "stream_multi_two_servers" { // frames of streams do not tell, and subscriptions were not recorded
		ids["SRV_ServerAAAAAA"], ids["SRV_ServerBBBBBB"] = true, true
	}
	if len(ids) == 0 {
		return []string{"SRV_ServerAAAAAA"}
	}
	return slices.Sorted(maps.Keys(ids))
}

// peers are the ids of those that have sent, or that were seen to subscribe.
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

// The peer's codec finds in the recorded frames what an independent decoder has found, and encodes
// it to the same bytes.
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

// The peer addresses the recorded frames as they were.
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
