package dynamic_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestRegisterTopics_SeveralServers(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	topics := []dynamic.TopicRegistration{
		{Registration: f.services[0], Group: "place", Topic: []string{"eu"}},
		{Registration: f.services[1], Method: "Region", Topic: []string{"us"}},
	}
	require.NoError(t, dynamic.RegisterTopics(topics...))
	for topic, want := range map[string]string{"eu": "SRV_0", "us": "SRV_1"} {
		server, err := f.call(t, "Region", dynamic.WithTopic(topic))
		require.NoError(t, err)
		assert.Equal(t, want, server)
	}
	require.NoError(t, dynamic.DeregisterTopics(topics...))
	for _, topic := range []string{"eu", "us"} {
		_, err := f.call(t, "Region", dynamic.WithTopic(topic))
		assert.Equal(t, errors.ReasonNobodyListening, reasonOf(t, err))
	}
	require.NoError(t, dynamic.RegisterTopics())
	require.NoError(t, dynamic.DeregisterTopics())
}

// TestRegisterTopics_UndoneOnError checks that if one topic cannot be registered, none of the new
// topics stays registered.
func TestRegisterTopics_UndoneOnError(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	first, second := f.services[0], f.services[1]
	require.NoError(t, first.RegisterTopic("Region", "old"))
	for name, tt := range map[string]struct {
		last dynamic.TopicRegistration
		code errors.ErrorCode
	}{
		"registered twice":      {dynamic.TopicRegistration{Registration: first, Method: "Region", Topic: []string{"old"}}, errors.AlreadyExists},
		"no registration":       {dynamic.TopicRegistration{Method: "Region", Topic: []string{"x"}}, errors.InvalidArgument},
		"unknown method":        {dynamic.TopicRegistration{Registration: first, Method: "Regio", Topic: []string{"x"}}, errors.InvalidArgument},
		"method and group":      {dynamic.TopicRegistration{Registration: first, Method: "Region", Group: "place"}, errors.InvalidArgument},
		"no method":             {dynamic.TopicRegistration{Registration: first, Topic: []string{"x"}}, errors.InvalidArgument},
		"wrong number of parts": {dynamic.TopicRegistration{Registration: first, Method: "Region"}, errors.InvalidArgument},
	} {
		requireCode(t, tt.code, dynamic.RegisterTopics(
			dynamic.TopicRegistration{Registration: first, Group: "place", Topic: []string{"eu"}},
			dynamic.TopicRegistration{Registration: second, Method: "Region", Topic: []string{"us"}},
			tt.last,
		))
		for _, topic := range []string{"eu", "us"} {
			_, err := f.call(t, "Region", dynamic.WithTopic(topic))
			require.Equal(t, errors.ReasonNobodyListening, reasonOf(t, err), name)
		}
		_, err := f.call(t, "Region", dynamic.WithTopic("old"))
		require.NoError(t, err, name)
	}
}

// TestDeregisterTopics_AllErrors checks that if some topics cannot be deregistered, the others
// still are, and that the error names all that failed.
func TestDeregisterTopics_AllErrors(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1)
	topic := dynamic.TopicRegistration{Registration: f.services[0], Method: "Region", Topic: []string{"eu"}}
	require.NoError(t, dynamic.RegisterTopics(topic))
	unknown := topic
	unknown.Topic = []string{"mars"}
	err := dynamic.DeregisterTopics(topic, unknown, dynamic.TopicRegistration{})
	require.ErrorContains(t, err, "mars")
	require.ErrorContains(t, err, "the registration is nil")
	_, err = f.call(t, "Region", dynamic.WithTopic("eu"))
	assert.Equal(t, errors.ReasonNobodyListening, reasonOf(t, err))
}

// TestRegisterTopics_KeepsInheritedTopics checks that a failure does not end a topic that the
// service has inherited from its previous version.
func TestRegisterTopics_KeepsInheritedTopics(t *testing.T) {
	t.Parallel()
	w := newVersionsWorld(t, newFakeBus())
	require.NoError(t, w.service.RegisterTopic("Region", "eu"))
	require.NoError(t, w.replace(t, version(2)).Close(context.Background()))
	inherited := dynamic.TopicRegistration{Registration: w.service, Method: "Region", Topic: []string{"eu"}}
	requireCode(t, errors.InvalidArgument, dynamic.RegisterTopics(inherited, dynamic.TopicRegistration{}))
	answer, err := w.call(t, versionsRegion, "", dynamic.WithTopic("eu"))
	require.NoError(t, err)
	assert.Equal(t, "2", answer)
	require.NoError(t, dynamic.RegisterTopics(inherited), "it is still inherited")
}
