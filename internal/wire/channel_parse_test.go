package wire_test

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// parsedChannels contains a channel of each kind, and the parts that its name and its subject
// contain.
var parsedChannels = []struct {
	channel       wire.Channel
	name, subject wire.ChannelParts
	// queue reports whether the subscription to the subject has a queue group.
	queue bool
}{
	{
		channel: wire.RequestChannel("S", "Do", nil, true), queue: true,
		name:    wire.ChannelParts{Service: "S", Method: "Do", Carries: "REQ"},
		subject: wire.ChannelParts{Service: "S", Carries: "REQ", Queue: true},
	},
	{
		channel: wire.RequestChannel("S", "Do", []string{"eu-west.1", "\U0001f680"}, false),
		name:    wire.ChannelParts{Service: "S", Method: "Do", Topic: []string{"eu-west.1", "\U0001f680"}, Carries: "REQ"},
		subject: wire.ChannelParts{Service: "S", Topic: []string{"eu-west.1", "\U0001f680"}},
	},
	{
		channel: wire.RequestChannel("S", "Do", []string{"a", ""}, false),
		name:    wire.ChannelParts{Service: "S", Method: "Do", Topic: []string{"a", ""}, Carries: "REQ"},
		subject: wire.ChannelParts{Service: "S", Topic: []string{"a"}},
	},
	{
		channel: wire.ClaimResponseChannel("S", "Do", []string{"a"}),
		name:    wire.ChannelParts{Service: "S", Method: "Do", Topic: []string{"a"}, Carries: "RCLAIM"},
		subject: wire.ChannelParts{Service: "S", Topic: []string{"a"}},
	},
	{
		channel: wire.StreamServerChannel("S", "Flow", nil),
		name:    wire.ChannelParts{Service: "S", Method: "Flow", Carries: "STR"},
		subject: wire.ChannelParts{Service: "S"},
	},
	{
		channel: wire.ResponseChannel("S", "CLI_a"),
		name:    wire.ChannelParts{Service: "S", ClientID: "CLI_a", Carries: "RES"},
		subject: wire.ChannelParts{Service: "S", ClientID: "CLI_a", Carries: "RES"},
	},
	{
		channel: wire.ClaimRequestChannel("S", "CLI_a"),
		name:    wire.ChannelParts{Service: "S", ClientID: "CLI_a", Carries: "CLAIM"},
		subject: wire.ChannelParts{Service: "S", ClientID: "CLI_a", Carries: "CLAIM"},
	},
	{
		channel: wire.StreamClientChannel("S", "CLI_a"),
		name:    wire.ChannelParts{Service: "S", ClientID: "CLI_a", Carries: "STR"},
		subject: wire.ChannelParts{Service: "S", ClientID: "CLI_a", Carries: "STR"},
	},
	{
		channel: wire.CancelChannel("S"),
		name:    wire.ChannelParts{Service: "S", Carries: "CANCEL"},
		subject: wire.ChannelParts{Service: "S", Carries: "CANCEL"},
	},
	{
		channel: wire.DiscoverChannel("S"),
		name:    wire.ChannelParts{Service: "S", Carries: "DISCOVER"},
		subject: wire.ChannelParts{Service: "S", Carries: "DISCOVER"},
	},
	{
		channel: wire.PresenceChannel("S"),
		name:    wire.ChannelParts{Service: "S", Carries: "PRESENCE"},
		subject: wire.ChannelParts{Service: "S", Carries: "PRESENCE"},
	},
	{
		channel: wire.PresenceClientChannel("S", "CLI_a"),
		name:    wire.ChannelParts{Service: "S", ClientID: "CLI_a", Carries: "PRESENCE"},
		subject: wire.ChannelParts{Service: "S", ClientID: "CLI_a", Carries: "PRESENCE"},
	},
	{
		channel: wire.UnicastChannel("S", "SRV_a"),
		name:    wire.ChannelParts{Service: "S", Address: "SRV_a", Carries: "UNICAST"},
		subject: wire.ChannelParts{Service: "S", Address: "SRV_a", Carries: "UNICAST"},
	},
	{
		channel: wire.Channel{Name: "S|Do|a|REQ|MARKER", Subject: "DYN.QUEUE.SRV.S.a.Q.Do.REQ"}, queue: true,
		name:    wire.ChannelParts{Service: "S", Method: "Do", Topic: []string{"a"}, Carries: "MARKER"},
		subject: wire.ChannelParts{Service: "S", Method: "Do", Topic: []string{"a"}, Carries: "PRIVATE", Queue: true},
	},
}

func TestParseNames_OfEachKind(t *testing.T) {
	t.Parallel()
	var names []string
	want := map[string]wire.ChannelParts{}
	for _, row := range parsedChannels {
		names = append(names, row.channel.Name)
		want[row.channel.Name] = row.name
	}
	foreign := []string{"", "news", "a|b", "S||REQ", "|Do|REQ", "staging:S|Do|REQ", "S|u+zzzz|REQ", "S|+0041|REQ", "S|Do|NEWS", "__keyevent@0__:del"}
	assert.Equal(t, want, maps.Collect(wire.ParseNames(append(names, foreign...))))
}

func TestParseSubject_OfEachKind(t *testing.T) {
	t.Parallel()
	for _, row := range parsedChannels {
		parts, ok := wire.ParseSubject(row.channel.Subject, row.queue, false)
		require.True(t, ok, row.channel.Subject)
		assert.Equal(t, row.subject, parts, row.channel.Subject)
	}
	for _, foreign := range []string{"", "news", "SRV", "SRV.S.>", "SRV.*", "SRV..a", "CLI.S.RES", "CLI.S.a.NEWS", "DYN.S", "DYN.S.NEWS", "_INBOX.a.b"} {
		_, ok := wire.ParseSubject(foreign, false, false)
		assert.False(t, ok, foreign)
	}
}

func TestParseSubject_WithASubjectPerMethod(t *testing.T) {
	t.Parallel()
	parts, ok := wire.ParseSubject("SRV.S.a.Q.Do.REQ", true, true)
	require.True(t, ok)
	assert.Equal(t, wire.ChannelParts{Service: "S", Method: "Do", Topic: []string{"a"}, Carries: "REQ", Queue: true}, parts)
	parts, ok = wire.ParseSubject("SRV.S.Do.RCLAIM", false, true)
	require.True(t, ok)
	assert.Equal(t, wire.ChannelParts{Service: "S", Method: "Do", Carries: "RCLAIM"}, parts)
	_, ok = wire.ParseSubject("SRV.S.a", false, true)
	assert.False(t, ok)
}

func TestPrefixOf(t *testing.T) {
	t.Parallel()
	for _, row := range parsedChannels {
		for _, prefix := range []string{"", "staging.", "fleet:", "a b/", "\u00e9"} {
			got, ok := wire.PrefixOfName(prefix + row.channel.Name)
			assert.True(t, ok, prefix+row.channel.Name)
			assert.Equal(t, prefix, got)
		}
		for _, prefix := range []string{"", "staging.", "a.b.", "x-"} {
			got, ok := wire.PrefixOfSubject(prefix+row.channel.Subject, row.queue)
			assert.True(t, ok, prefix+row.channel.Subject)
			assert.Equal(t, prefix, got)
		}
	}
	for _, foreign := range []string{"", "news", "a:b", "__keyevent@0__:del"} {
		_, ok := wire.PrefixOfName(foreign)
		assert.False(t, ok, foreign)
	}
	for _, foreign := range []string{"", "news", "_INBOX.xSRV.S", "a.SRV", "x.CLI.S.RES"} {
		_, ok := wire.PrefixOfSubject(foreign, false)
		assert.False(t, ok, foreign)
	}
}

// ParseNames must return the parts from which RequestChannel has built a name, whatever they are.
func FuzzParseNames(f *testing.F) {
	f.Add("MyService", "Do", "eu-west.1", "a")
	f.Add("my.pkg", "Do_It", "\U0001f680", "")
	f.Fuzz(func(t *testing.T, service, method, first, second string) {
		if service == "" || method == "" || first == "" {
			t.Skip("names omit such empty parts")
		}
		channel := wire.RequestChannel(service, method, []string{first, second}, false)
		parsed := maps.Collect(wire.ParseNames([]string{channel.Name}))
		require.Contains(t, parsed, channel.Name)
		parts := parsed[channel.Name]
		again := wire.RequestChannel(parts.Service, parts.Method, parts.Topic, false)
		assert.Equal(t, channel.Name, again.Name)
	})
}
