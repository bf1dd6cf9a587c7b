package plugin

import (
	"encoding/json"
	"io/fs"
	"testing"
	"testing/fstest"

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

func FuzzReadSource(f *testing.F) {
	f.Add(`{"name": "x", "loader": "l", "code": "code", "descriptors": "a.proto"}`, "code", "a.proto",
		[]byte(`syntax = "proto3"; import "b.proto"; service S { rpc M(B) returns (B); }`), "b.proto", []byte(`message B {}`))
	f.Add(`{"name": "x", "loader": "l", "code": "code", "descriptors": "set"}`, "../code", "set", []byte("\n\x05\n\x03a.b"), "/", []byte{0})
	f.Fuzz(func(t *testing.T, manifest, code, first string, firstContent []byte, second string, secondContent []byte) {
		folder := fstest.MapFS{}
		for name, content := range map[string][]byte{
			ManifestName: []byte(manifest), code: {1}, first: firstContent, second: secondContent,
		} {
			if fs.ValidPath(name) {
				folder[name] = &fstest.MapFile{Data: content}
			}
		}
		source, err := readSource(folder, "/plugins/folder")
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.Len(t, source.Digest, 64)
		again, err := readSource(folder, "/plugins/folder")
		require.NoError(t, err)
		require.Equal(t, source.fingerprint, again.fingerprint)
	})
}
