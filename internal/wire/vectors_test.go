package wire_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// scenario contains the frames of one scenario in testdata/vectors.json, which were recorded
// between psrpc peers. If the name of a scenario starts with x_, some of its frames were written by
// hand.
type scenario struct {
	Name   string
	Bus    string
	Method struct {
		Service string
		Name    string
		Topics  []string
		Queue   bool
	}
	Frames []vector
}

//nolint:tagliatelle // the names are those of the file
type vector struct {
	Seq        int
	Subject    string
	PayloadHex string `json:"payload_hex"`
	Decoded    map[string]any
}

func (v vector) frame(t testing.TB) []byte {
	t.Helper()
	frame, err := hex.DecodeString(v.PayloadHex)
	require.NoError(t, err)
	return frame
}

func loadScenarios(t testing.TB) []scenario {
	t.Helper()
	var scenarios []scenario
	loadJSON(t, "testdata/vectors.json", &scenarios)
	return scenarios
}

func loadJSON(t testing.TB, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, into))
}

// forEachVector calls f for each recorded frame, and checks the number of frames.
func forEachVector(t *testing.T, f func(t *testing.T, s scenario, v vector)) {
	t.Helper()
	count := 0
	for _, s := range loadScenarios(t) {
		for _, v := range s.Frames {
			count++
			t.Run(fmt.Sprintf("%s/%s/%d", s.Bus, s.Name, v.Seq), func(t *testing.T) { f(t, s, v) })
		}
	}
	assert.Equal(t, 411, count, "number of frames in vectors.json")
}

func TestVectors_Decode(t *testing.T) {
	t.Parallel()
	forEachVector(t, func(t *testing.T, _ scenario, v vector) {
		want := v.Decoded
		delete(want, "channel_triple") // see TestVectors_Channels
		assert.Equal(t, want, describe(t, v.frame(t), want["message"].(map[string]any)))
	})
}

// TestVectors_Reencode checks that decoding and encoding restores the bytes of each frame, and
// counts the frames for which that is impossible.
func TestVectors_Reencode(t *testing.T) {
	t.Parallel()
	counts := map[string]int{}
	forEachVector(t, func(t *testing.T, _ scenario, v vector) {
		frame := v.frame(t)
		got := reencode(t, frame)
		reason := whyNotSameBytes(t, frame)
		counts[reason]++
		if reason == identical {
			assert.Equal(t, hex.EncodeToString(frame), hex.EncodeToString(got))
		}
		if reason == mapOrder {
			assert.Len(t, got, len(frame))
		}
		assert.Equal(t, canonicalFrame(t, frame), canonicalFrame(t, got), "meaning of the frame")
	})
	t.Log("frames by reason:", counts)
	assert.Equal(t, map[string]int{identical: 389, mapOrder: 2, foreignFields: 20}, counts)
}

// TestVectors_Channels checks that the channel functions return the channels on which the frames
// were recorded.
func TestVectors_Channels(t *testing.T) {
	t.Parallel()
	forEachVector(t, func(t *testing.T, s scenario, v vector) {
		channels := possibleChannels(t, s, v.frame(t))
		subjects := make([]string, len(channels))
		for i, channel := range channels {
			subjects[i] = channel.Name
			if s.Bus == "nats" {
				subjects[i] = channel.Subject
			}
		}
		require.Contains(t, subjects, v.Subject)
		if triple, ok := v.Decoded["channel_triple"].(map[string]any); ok {
			want := wire.Channel{
				Name:    triple["legacy"].(string),
				Subject: triple["server"].(string),
				Key:     triple["local"].(string),
			}
			assert.Contains(t, channels, want)
		}
	})
}

// TestVectors_Truncated checks that the codec accepts or rejects every prefix of every frame, like
// protobuf, without a panic.
func TestVectors_Truncated(t *testing.T) {
	t.Parallel()
	refused := 0
	// Many frames begin with the same bytes. Each prefix is checked once.
	envelopes, inner := map[string]bool{}, map[string]bool{}
	for _, s := range loadScenarios(t) {
		for _, v := range s.Frames {
			frame := v.frame(t)
			for i := range frame {
				if prefix := string(frame[:i]); !envelopes[prefix] {
					envelopes[prefix] = true
					checkEnvelope(t, frame[:i])
				}
				if _, err := wire.ParseEnvelope(frame[:i]); err != nil {
					refused++
				}
			}
			env, err := wire.ParseEnvelope(frame)
			require.NoError(t, err)
			for i := range env.Value {
				prefix := string(env.Value[:i])
				if inner[prefix] {
					continue
				}
				inner[prefix] = true
				for kind := range schemaName {
					checkInner(t, kind, env.Value[:i])
				}
			}
		}
	}
	assert.Greater(t, refused, 10000)
}

const (
	identical     = "identical"
	mapOrder      = "several metadata entries: psrpc's random order"
	foreignFields = "made by hand with fields unknown to psrpc"
)

// whyNotSameBytes returns why encoding may not restore the bytes of a frame: the order of map
// entries is random, and unknown fields are skipped.
func whyNotSameBytes(t *testing.T, frame []byte) string {
	t.Helper()
	env := newReference(t, "Msg")
	require.NoError(t, proto.Unmarshal(frame, env))
	if len(env.GetUnknown()) > 0 {
		return foreignFields
	}
	envelope, err := wire.ParseEnvelope(frame)
	require.NoError(t, err)
	if envelope.Kind == wire.KindRequest {
		req, err := wire.ParseRequest(envelope.Value)
		require.NoError(t, err)
		if len(req.Metadata) > 1 {
			return mapOrder
		}
	}
	return identical
}

func reencode(t testing.TB, frame []byte) []byte {
	t.Helper()
	env, err := wire.ParseEnvelope(frame)
	require.NoError(t, err)
	var out []byte
	if env.Kind == wire.KindUnknown {
		out, err = wire.AppendMessageFrame(nil, wire.Body{Raw: env.Value}, string(env.TypeName), nonceOf(t, frame))
	} else {
		var m message
		m, err = parse(env.Kind, env.Value)
		require.NoError(t, err)
		out, err = m.AppendFrame(nil)
	}
	require.NoError(t, err)
	key, err := wire.RoutingKey(frame)
	require.NoError(t, err)
	return wire.AppendRoutingKey(out, string(key))
}

// possibleChannels returns the channels on which a frame of the same kind may be sent.
func possibleChannels(t *testing.T, s scenario, frame []byte) []wire.Channel {
	t.Helper()
	env, err := wire.ParseEnvelope(frame)
	require.NoError(t, err)
	m, client := s.Method, "CLI_ClientAAAAAA"
	if s.Name == "odd_ids" {
		client = "ND_cli.x-1"
	}
	request := wire.RequestChannel(m.Service, m.Name, m.Topics, m.Queue)
	switch env.Kind {
	case wire.KindResponse:
		return []wire.Channel{wire.ResponseChannel(m.Service, client)}
	case wire.KindClaimRequest:
		return []wire.Channel{wire.ClaimRequestChannel(m.Service, client)}
	case wire.KindClaimResponse:
		return []wire.Channel{wire.ClaimResponseChannel(m.Service, m.Name, m.Topics)}
	case wire.KindStream:
		return []wire.Channel{
			wire.StreamServerChannel(m.Service, m.Name, m.Topics),
			wire.StreamClientChannel(m.Service, client),
		}
	default:
		if s.Name == "x_lock_ignores_channel" { // the frame is also sent to a second method
			return []wire.Channel{request, wire.RequestChannel(m.Service, "ProcessRegionUpdate", []string{"eu"}, true)}
		}
		return []wire.Channel{request}
	}
}
