package plugin

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"name": "greeter", "loader": "wasm", "code": "x", "limits": {"timeout": "1.5s"}, "env": ["A=b"]}`))
	f.Add([]byte(`{"loader": "x"} {}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		encoded, err := json.Marshal(m)
		require.NoError(t, err)
		again, err := ParseManifest(encoded)
		require.NoError(t, err, "%s", encoded)
		encodedAgain, err := json.Marshal(again)
		require.NoError(t, err)
		require.JSONEq(t, string(encoded), string(encodedAgain))
	})
}
