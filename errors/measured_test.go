package errors_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// measured contains the behavior of psrpc that was recorded in testdata/errors.json.
type measured struct {
	Codes []struct {
		Name         string           `json:"name"`
		Code         errors.ErrorCode `json:"code"`
		HTTP         int              `json:"http"`
		Grpc         uint32           `json:"grpc"`
		Twirp        string           `json:"twirp"`
		BackFromGrpc errors.ErrorCode `json:"back_from_grpc"`
	} `json:"codes"`
	GrpcToCode []struct {
		Grpc uint32           `json:"grpc"`
		Code errors.ErrorCode `json:"code"`
	} `json:"grpc_to_code"`
	Predefined []struct {
		Name string           `json:"name"`
		Code errors.ErrorCode `json:"code"`
		Text string           `json:"text"`
	} `json:"predefined"`
	MadeByClient []struct {
		When string `json:"when"`
		Code string `json:"code"`
		Text string `json:"text"`
	} `json:"made_by_client"`
	ReturnedErrors []returnedError `json:"returned_errors"`
}

type returnedError struct {
	Returned    string        `json:"returned"`
	GoErrorText string        `json:"go_error_text"`
	Response    wireError     `json:"response"`
	StreamClose *wireError    `json:"stream_close"`
	ClientGets  *clientResult `json:"client_gets"`
	StreamGets  *clientError  `json:"stream_client_gets"`
}

type wireError struct {
	Code    errors.ErrorCode `json:"code"`
	Error   string           `json:"error"`
	Details []wireDetail     `json:"error_details"`
}

type clientResult struct {
	Error *clientError `json:"error"` // nil if psrpc's client reports a success
}

type clientError struct {
	Code    errors.ErrorCode `json:"code"`
	Message string           `json:"message"`
	Details []wireDetail     `json:"details"`
}

type wireDetail struct {
	TypeURL  string `json:"type_url"`
	ValueHex string `json:"value_hex"`
}

func readMeasured(t *testing.T) measured {
	t.Helper()
	data, err := os.ReadFile("testdata/errors.json")
	require.NoError(t, err)
	var m measured
	require.NoError(t, json.Unmarshal(data, &m))
	return m
}

// wireDetails converts details to the form used in testdata/errors.json. It returns nil if there
// are none.
func wireDetails(details []*anypb.Any) []wireDetail {
	if len(details) == 0 {
		return nil
	}
	seen := make([]wireDetail, 0, len(details))
	for _, detail := range details {
		seen = append(seen, wireDetail{TypeURL: detail.GetTypeUrl(), ValueHex: hex.EncodeToString(detail.GetValue())})
	}
	return seen
}
