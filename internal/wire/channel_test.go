package wire_test

import (
	"encoding/hex"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// channelNames contains the names of one psrpc channel, as stored in testdata/channels.json.
type channelNames struct{ Legacy, Server, Local string }

func (c channelNames) channel() wire.Channel {
	return wire.Channel{Name: c.Legacy, Subject: c.Server, Key: c.Local}
}

//nolint:tagliatelle // the names are those of the file
type channelRow struct {
	Note     string
	Service  string
	Method   string
	Topic    []string
	TopicHex []string `json:"topic_hex"` // replaces Topic if it is not valid UTF-8
	ClientID string   `json:"client_id"`
	Queue    bool

	Request       channelNames
	ClaimRequest  channelNames `json:"claim_request"`
	ClaimResponse channelNames `json:"claim_response"`
	Response      channelNames
	StreamServer  channelNames `json:"stream_server"`
	StreamClient  channelNames `json:"stream_client"`
}

func TestChannel_AsPsrpc(t *testing.T) {
	t.Parallel()
	var file struct{ Rows []channelRow }
	loadJSON(t, "testdata/channels.json", &file)
	require.Len(t, file.Rows, 51)
	for _, row := range file.Rows {
		t.Run(row.Note, func(t *testing.T) {
			t.Parallel()
			topic := row.Topic
			for _, part := range row.TopicHex {
				b, err := hex.DecodeString(part)
				require.NoError(t, err)
				topic = append(topic, string(b))
			}
			service, method, client := row.Service, row.Method, row.ClientID
			assert.Equal(t, row.Request.channel(), wire.RequestChannel(service, method, topic, row.Queue))
			assert.Equal(t, row.ClaimResponse.channel(), wire.ClaimResponseChannel(service, method, topic))
			assert.Equal(t, row.StreamServer.channel(), wire.StreamServerChannel(service, method, topic))
			assert.Equal(t, row.ClaimRequest.channel(), wire.ClaimRequestChannel(service, client))
			assert.Equal(t, row.Response.channel(), wire.ResponseChannel(service, client))
			assert.Equal(t, row.StreamClient.channel(), wire.StreamClientChannel(service, client))
		})
	}
}

func TestCancelChannel_IsOfAService(t *testing.T) {
	t.Parallel()
	for service, want := range map[string]wire.Channel{
		"MyService":        {Name: "MyService|CANCEL", Subject: "DYN.MyService.CANCEL"},
		"my.pkg.MyService": {Name: "myu+002epkgu+002eMyService|CANCEL", Subject: "DYN.my.pkg.MyService.CANCEL"},
		"":                 {Name: "CANCEL", Subject: "DYN..CANCEL"},
	} {
		assert.Equal(t, want, wire.CancelChannel(service))
	}
}

func TestUnicastChannel_IsOfAServer(t *testing.T) {
	t.Parallel()
	assert.Equal(t, wire.Channel{Name: "MyService|SRV_a|UNICAST", Subject: "DYN.MyService.SRV_a.UNICAST"},
		wire.UnicastChannel("MyService", "SRV_a"))
}

// A request that is sent to a single server must consist of two parts: the frame that would be sent
// to the queue, and the routing key.
func TestRequest_RoutingKeyIsLast(t *testing.T) {
	t.Parallel()
	request := wire.Request{RequestID: []byte("id"), SentAt: 1, Body: wire.Body{Raw: []byte("body")}, AnnounceAfter: 200}
	queued, err := request.AppendFrame(nil)
	require.NoError(t, err)
	request.RoutingKey = "S|M|REQ"
	unicast, err := request.AppendFrame(nil)
	require.NoError(t, err)
	assert.Equal(t, wire.AppendRoutingKey(queued, "S|M|REQ"), unicast)
	assert.Len(t, unicast, len(queued)+wire.SizeRoutingKey("S|M|REQ"))
	envelope, err := wire.ParseEnvelope(unicast)
	require.NoError(t, err)
	assert.Equal(t, "S|M|REQ", string(envelope.RoutingKey))
}

func TestChannel_TopicIsNotChanged(t *testing.T) {
	t.Parallel()
	topic := []string{"a.b", ""}
	wire.RequestChannel("S", "M", topic, true)
	assert.Equal(t, []string{"a.b", ""}, topic)
}

// FuzzChannelNames checks that the names of channels contain only allowed characters, and compares
// the names with those from a simpler implementation. The fuzzed topic is split at slashes.
func FuzzChannelNames(f *testing.F) {
	f.Add("MyService", "NormalRPC", "a/b", "CLI_1", true)
	f.Add("my.pkg", "Do.It", "//a//", "ND_a.b-c d", false)
	f.Add("", "", "", "", true)
	f.Add("S\U0001f680", "m\u00e9", "\xff\xc3/\uffff\U00010000/*|>", "\x00", false)
	f.Fuzz(func(t *testing.T, service, method, slashed, client string, queue bool) {
		topic := strings.Split(slashed, "/")
		tokens := append([]string{"SRV", service}, modelParts(topic)...)
		if queue {
			tokens = append(tokens, "Q")
		}
		request := wire.RequestChannel(service, method, topic, queue)
		assert.Equal(t, modelName(service, method, topic, "REQ"), request.Name)
		assert.Equal(t, strings.Join(tokens, "."), request.Subject)
		assert.Equal(t, method+".REQ", request.Key)

		response := wire.ResponseChannel(service, client)
		assert.Equal(t, modelName(service, client, nil, "RES"), response.Name)
		assert.Equal(t, "CLI."+service+"."+client+".RES", response.Subject)
		assert.Empty(t, response.Key)

		cancel := wire.CancelChannel(service)
		assert.Equal(t, modelName(service, "", nil, "CANCEL"), cancel.Name)
		assert.Equal(t, "DYN."+service+".CANCEL", cancel.Subject)
		assert.Empty(t, cancel.Key)

		alphabet := "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+|"
		assert.Empty(t, strings.Trim(request.Name, alphabet))
		assert.Empty(t, strings.Trim(response.Name, alphabet))
		assert.Empty(t, strings.Trim(cancel.Name, alphabet))
	})
}

// modelName returns the name of a channel. It is a simpler implementation, which treats each case
// of an empty part separately.
func modelName(service, second string, topic []string, carries string) string {
	name := ""
	if service != "" {
		name += modelSanitize(service) + "|"
	}
	if second != "" {
		name += modelSanitize(second) + "|"
	}
	if full := modelParts(topic); len(full) > 0 {
		name += strings.Join(full, "|") + "|"
		if topic[len(topic)-1] == "" {
			name += "|"
		}
	}
	return name + carries
}

func modelParts(topic []string) []string {
	var parts []string
	for _, part := range topic {
		if part != "" {
			parts = append(parts, modelSanitize(part))
		}
	}
	return parts
}

func modelSanitize(s string) string {
	clean := ""
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		digits := strconv.FormatInt(int64(r), 16)
		switch {
		case strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", r):
			clean += string(r)
		case r > 0xffff:
			clean += "U+" + strings.Repeat("0", 8-len(digits)) + digits
		default:
			clean += "u+" + strings.Repeat("0", 4-len(digits)) + digits
		}
		s = s[size:]
	}
	return clean
}
