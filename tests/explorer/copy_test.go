package explorer

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The commands that the page Method shows must pass the request to their tools unchanged, whatever
// it contains.
func TestCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["redis"](t))
	p := openExplorer(t, w)
	const input = `{
		text: JSON.stringify({name: "Ada's \"$HOME\" \\ tea", count: 2}, null, 2), topic: ['a b', 'c,d/e'], timeout: 2.5,
		metadata: [['user', 'it is "Ada"']], select: {first: true, min: 0.5}, expect: 3,
	}`
	words := func(tool, call string) []string {
		t.Helper()
		command := eval[string](p, `import('/assets/copy.js').then((copy) => copy.`+call+`)`)
		printed, err := exec.CommandContext(t.Context(), "sh", "-c", tool+` () { printf '%s\n' "$@"; }; `+command).CombinedOutput()
		require.NoError(t, err, "%s\n%s", command, printed)
		return strings.Split(strings.TrimSuffix(string(printed), "\n"), "\n")
	}
	const request = `{"name":"Ada's \"$HOME\" \\ tea","count":2}`
	method := `{kind: 'single', fullName: 'shop.Shop/Get'}`
	assert.Equal(t, []string{
		"call", "--bus", "redis://127.0.0.1:6379", "--prefix", "dev", "shop.Shop/Get", "-t", `a b,"c,d/e"`, "-H", `user:it is "Ada"`,
		"--timeout", "2.5s", "--first", "--min", "0.5", "--expect", "3", request,
	}, words("psrpc", `asPsrpc(`+method+`, `+input+`, {kind: 'redis', address: '127.0.0.1:6379'}, 'dev')`))
	headers := []string{
		"-H", "Psrpc-Topic: a%20b/c%2Cd%2Fe", "-H", "Psrpc-Expect: 3", "-H", "Psrpc-Select: first;min=0.5",
	}
	curl := append([]string{"-H", "Content-Type: application/json"}, headers...)
	curl = append(curl, "-H", "Connect-Timeout-Ms: 2500", "-H", `Psrpc-Meta-user: it is "Ada"`, "-d", request, "http://127.0.0.1:8321/shop.Shop/Get")
	assert.Equal(t, curl, words("curl", `asCurl(`+method+`, `+input+`, 'http://127.0.0.1:8321')`))
	grpcurl := append([]string{"-plaintext", "-max-time", "2.5"}, headers...)
	grpcurl = append(grpcurl, "-H", `Psrpc-Meta-user: it is "Ada"`, "-d", request, "127.0.0.1:8321", "shop.Shop/Get")
	assert.Equal(t, grpcurl, words("grpcurl", `asGrpcurl(`+method+`, `+input+`, 'http://127.0.0.1:8321')`))
	assert.Equal(t, []string{"subscribe", "shop.Shop/News"}, words("psrpc", `asPsrpc({kind: 'subscription', fullName: 'shop.Shop/News'}, {text: '{}'})`))

	assert.Equal(t, "response, err := dynamic.Invoke(ctx, conn, \"shop.Shop/Get\", json.RawMessage(`"+request+"`),\n"+
		"\tdynamic.WithTopic(\"a b\", \"c,d/e\"),\n\tdynamic.WithRequestTimeout(2500*time.Millisecond),\n\tdynamic.WithExpectedResponses(3),\n"+
		"\tdynamic.WithSelectionOpts(dynamic.SelectionOpts{AcceptFirstAvailable: true, MinimumAffinity: 0.5}),\n"+
		"\tdynamic.WithMetadata(map[string]string{\"user\": \"it is \\\"Ada\\\"\"}),\n)\nif err != nil {\n\treturn err\n}\nfmt.Println(response)\n",
		eval[string](p, `import('/assets/copy.js').then((copy) => copy.asGo(`+method+`, `+input+`))`))
}
