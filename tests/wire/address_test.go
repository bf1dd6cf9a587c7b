package wire_test

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

// address is where a frame is published, in the forms of the different buses.
type address struct {
	name    string // on Redis and in-process
	subject string // on NATS
	key     string // inside the envelope on NATS
}

// forms is the address in the recording's words.
func (a address) forms() channelForms {
	return channelForms{Legacy: a.name, Server: a.subject, Local: a.key}
}

// target is a method of a service on the wire, with its topic.
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

// ofServers makes only the topic safe in the subject, and nothing in the key.
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

// join puts a delimiter before each part unless the one before it is empty.
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

// clientAddress is where a client listens.
func clientAddress(service, client, what string) address {
	return address{
		name:    join(safe(service), safe(client), what),
		subject: "CLI." + service + "." + client + "." + what,
	}
}

// safe replaces all but ASCII letters, digits and the underscore.
func safe(part string) string {
	var out strings.Builder
	for _, r := range part { // a byte that is not UTF-8 comes as utf8.RuneError
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

// The peer's addresses are those that psrpc was seen to use.
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
