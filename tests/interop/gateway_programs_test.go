//go:build !psrpc_oldest

package interop

import (
	"encoding/json"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// These are the packages of gRPC tools, with their versions.
const (
	grpcurlProgram = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"
	ghzProgram     = "github.com/bojand/ghz/cmd/ghz@v0.93.0"
)

// The stock grpcurl must work with the gateway, using only reflection.
func TestGateway_GrpcurlProgram(t *testing.T) {
	t.Parallel()
	program, address := install(t, grpcurlProgram), newGateway(t, patientLinger)
	run := func(arguments ...string) (string, error) {
		output, err := exec.CommandContext(t.Context(), program, append([]string{"-plaintext"}, arguments...)...).CombinedOutput()
		return string(output), err
	}
	for _, tt := range []struct {
		arguments []string
		want      string
	}{
		{[]string{address, "list"}, "kinds.All\n"},
		{[]string{address, "describe", "kinds.All.Flow"}, "rpc Flow ( stream "},
		{[]string{"-d", `{"value": "hi"}`, address, "kinds.All/One"}, `"value": "hi"`},
		{[]string{"-d", `{"value": "hi"}`, address, "kinds.All/Every"}, `"value": "hi"`},
		{[]string{"-d", `{"value": "hi"} {"value": "ho"}`, address, "kinds.All/Flow"}, `"value": "ho"`},
		{[]string{"-rpc-header", "psrpc-topic: eu", "-d", `{"value": "hi"}`, address, "kinds.All/Region"}, `"value": "hi"`},
		{[]string{"-d", `{"service": "kinds.All"}`, address, "grpc.health.v1.Health/Check"}, `"status": "SERVING"`},
	} {
		output, err := run(tt.arguments...)
		require.NoError(t, err, "%s: %s", tt.arguments, output)
		assert.Contains(t, output, tt.want, tt.arguments)
	}
	output, err := run("-d", `{"value": "fail"}`, address, "kinds.All/One")
	require.Error(t, err)
	assert.Contains(t, output, "Code: NotFound")
}

// When ghz puts load on every kind of method, no call may fail.
func TestGateway_GhzProgram(t *testing.T) {
	t.Parallel()
	program, address := install(t, ghzProgram), newGateway(t, 100*time.Millisecond)
	for method, data := range map[string]string{
		"One": `{"value": "hi"}`, "Every": `{"value": "hi"}`, "Flow": `[{"value": "hi"}, {"value": "ho"}]`,
	} {
		command := exec.CommandContext(t.Context(), program, "--insecure", "--call", "kinds.All/"+method,
			"-d", data, "-n", "200", "-c", "20", "--format", "json", address)
		output, err := command.Output()
		require.NoError(t, err)
		var report struct {
			Rps                    float64        `json:"rps"`
			StatusCodeDistribution map[string]int `json:"statusCodeDistribution"`
		}
		require.NoError(t, json.Unmarshal(output, &report), "%s", output)
		assert.Equal(t, map[string]int{"OK": 200}, report.StatusCodeDistribution, method)
		t.Logf("%s: %.0f calls/s", method, report.Rps)
	}
}
