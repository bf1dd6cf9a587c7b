package plugin_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestEvent_String(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "loaded greeter 1.2 in /plugins/x",
		plugin.Event{Kind: plugin.Loaded, Plugin: "greeter", Version: "1.2", Folder: "/plugins/x"}.String())
	assert.Equal(t, "failed in /plugins/x: invalid module",
		plugin.Event{Kind: plugin.Failed, Folder: "/plugins/x", Err: errors.New("invalid module")}.String())
	assert.Equal(t, "EventKind(0)", plugin.Event{}.String())
	assert.Equal(t, "EventKind(99)", plugin.EventKind(99).String())
	assert.Equal(t, "recovered", plugin.Recovered.String())
}
