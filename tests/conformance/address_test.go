package conformance_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// address is the channel of a frame, with the name that each bus uses for it.
type address struct {
	name    string // the channel's name on Redis and on the in-process bus
	subject string // the subject on NATS
	key     string // the routing key in the envelope, used only on NATS
}

// forms converts the address to the form used in the recorded data.
func (a address) forms() channelForms {
	return channelForms{Legacy: a.name, Server: a.subject, Local: a.key}
}

// target is a method and its topic. The type has functions that compute the channels of the method.
type target struct {
	service, method string
	topic           []string
	queue           bool
}

func (t target) requests() address {
	a := t.ofServers("REQ")
	if t.queue {
		a.subject += ".Q"
	}
	return a
}

func (t target) grants() address  { return t.ofServers("RCLAIM") }
func (t target) streams() address { return t.ofServers("STR") }

// ofServers returns the address of a channel to which servers subscribe. In the subject, only the
// topic is escaped. In the routing key, nothing is escaped.
func (t target) ofServers(what string) address {
	subject, topic := "SRV."+t.service, make([]string, len(t.topic))
	for i, part := range t.topic {
		topic[i] = safe(part)
		if part != "" {
			subject += "." + topic[i]
		}
	}
	return address{
		name:    join(safe(t.service), safe(t.method), join(topic...), what),
		subject: subject,
		key:     t.method + "." + what,
	}
}

// join joins the parts of a channel name as psrpc does: it writes a delimiter before each part,
// except after an empty part.
func join(parts ...string) string {
	name, previous := "", ""
	for _, part := range parts {
		if previous != "" {
			name += "|"
		}
		name += part
		previous = part
	}
	return name
}

// clientAddress returns the address of a channel to which a client subscribes.
func clientAddress(service, client, what string) address {
	return address{
		name:    join(safe(service), safe(client), what),
		subject: "CLI." + service + "." + client + "." + what,
	}
}

// safe escapes all characters except ASCII letters, digits and underscores.
func safe(part string) string {
	var out strings.Builder
	// For each byte that is not valid UTF-8, the loop yields utf8.RuneError.
	for _, r := range part {
		switch {
		case r < utf8.RuneSelf && (r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'):
			out.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&out, "u+%04x", r)
		default:
			fmt.Fprintf(&out, "U+%08x", r)
		}
	}
	return out.String()
}

// The channel names computed by the reference peer must equal the names that psrpc used when
// channels.json was recorded.
func TestAddress_AsRecorded(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(vectorsFolder + "channels.json")
	require.NoError(t, err)
	var file struct {
		Rows []struct {
			Service  string   `json:"service"`
			Method   string   `json:"method"`
			Topic    []string `json:"topic"`
			TopicHex []string `json:"topic_hex"`
			ClientID string   `json:"client_id"`
			Queue    bool     `json:"queue"`
			Note     string   `json:"note"`

			Request       channelForms `json:"request"`
			ClaimResponse channelForms `json:"claim_response"`
			StreamServer  channelForms `json:"stream_server"`
			ClaimRequest  channelForms `json:"claim_request"`
			Response      channelForms `json:"response"`
			StreamClient  channelForms `json:"stream_client"`
		} `json:"rows"`
	}
	require.NoError(t, json.Unmarshal(raw, &file))
	require.NotEmpty(t, file.Rows)
	for _, row := range file.Rows {
		topic := row.Topic
		for _, encoded := range row.TopicHex {
			topic = append(topic, string(unhex(t, encoded)))
		}
		method := target{row.Service, row.Method, topic, row.Queue}
		for want, got := range map[channelForms]address{
			row.Request:       method.requests(),
			row.ClaimResponse: method.grants(),
			row.StreamServer:  method.streams(),
			row.ClaimRequest:  clientAddress(row.Service, row.ClientID, "CLAIM"),
			row.Response:      clientAddress(row.Service, row.ClientID, "RES"),
			row.StreamClient:  clientAddress(row.Service, row.ClientID, "STR"),
		} {
			assert.Equal(t, want, got.forms(), row.Note)
		}
	}
}
