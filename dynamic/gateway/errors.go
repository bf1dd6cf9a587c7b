package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// errorDomain is the domain of the google.rpc.ErrorInfo that contains psrpc's code of an error.
const errorDomain = "psrpc"

// coded returns err as an error with a code. An error without a code becomes a general error with
// the code unknown, because its text may contain secrets.
func coded(err error) errors.Error {
	if e, ok := errors.AsType[errors.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*connect.Error](err); ok {
		return errors.NewErrorf(errors.CodeFromGrpc(codes.Code(e.Code())), "%s", e.Message())
	}
	if e := errors.FromContext(err); e != nil && e.Code() != errors.Unknown {
		return e
	}
	return errCallFailed
}

var errCallFailed = errors.NewErrorf(errors.Unknown, "the call failed")

// text returns the text of an error. If an error contains facts about a failed call, such as the
// servers that have declined, text leaves them out unless [WithErrorFacts] is used. It also leaves
// out the text of an error of the broker, which may contain the broker's address and user.
func (o *options) text(e errors.Error) string {
	for {
		facts, hasFacts := errors.FactsOf(e)
		if !hasFacts || o.errorFacts {
			return e.Error()
		}
		if facts.Reason == errors.ReasonBusDown || facts.Reason == errors.ReasonRefused {
			return "the bus does not take the request"
		}
		cause, ok := errors.AsType[errors.Error](e.Unwrap())
		if !ok {
			return errCallFailed.Error()
		}
		e = cause
	}
}

// errorInfo returns an error detail with psrpc's code, because Connect and gRPC do not have all of
// psrpc's codes. With [WithErrorFacts], the detail also contains the facts of the call.
func (o *options) errorInfo(e errors.Error) *errdetails.ErrorInfo {
	info := &errdetails.ErrorInfo{Domain: errorDomain, Reason: string(e.Code())}
	facts, ok := errors.FactsOf(e)
	if !ok || !o.errorFacts {
		return info
	}
	info.Metadata = map[string]string{"phase": string(facts.Phase)}
	set := func(key, value string) {
		if value != "" && value != "0" {
			info.Metadata[key] = value
		}
	}
	set("reason", string(facts.Reason))
	set("server", facts.ServerID)
	set("claims", strconv.Itoa(facts.Claims))
	set("declined", strings.Join(facts.Declined, ","))
	for name, d := range map[string]float64{
		"publish_ms": facts.PublishTime.Seconds(), "selection_ms": facts.SelectionTime.Seconds(),
		"response_ms": facts.ResponseTime.Seconds(),
	} {
		set(name, strconv.FormatFloat(d*1000, 'f', -1, 64))
	}
	return info
}

// connectError returns the error of a call for Connect, gRPC and gRPC-Web.
func (o *options) connectError(err error) error {
	if _, ok := errors.AsType[*connect.Error](err); ok || err == nil {
		return err
	}
	e := coded(err)
	result := connect.NewError(connect.Code(e.Code().ToGrpc()), o.text(e))
	if info, err := connectproto.NewErrorDetail(o.errorInfo(e)); err == nil {
		result = result.WithDetail(info)
	}
	for _, detail := range e.DetailsProto() {
		if d, err := connectproto.NewErrorDetail(detail); err == nil {
			result = result.WithDetail(d)
		}
	}
	return result
}

// problem is an error as JSON, for SSE, NDJSON and WebSocket.
type problem struct {
	Code    errors.ErrorCode  `json:"code"`
	Message string            `json:"message"`
	Server  string            `json:"server,omitempty"`
	Details []json.RawMessage `json:"details,omitempty"`
}

// problemJSON returns err as JSON. serverID is the ID of the server that has returned err. It is
// empty if err does not come from one server.
func (g *Gateway) problemJSON(err error, serverID string) []byte {
	encoded, err := json.Marshal(g.problem(err, serverID))
	if err != nil {
		return []byte(`{"code":"internal","message":"the error cannot be encoded"}`)
	}
	return encoded
}

func (g *Gateway) problem(err error, serverID string) problem {
	e := coded(err)
	p := problem{Code: e.Code(), Message: g.options.text(e), Server: serverID}
	if g.options.errorFacts {
		if info, err := anypb.New(g.options.errorInfo(e)); err == nil {
			p.Details = append(p.Details, g.detailJSON(info))
		}
	}
	for _, detail := range e.DetailsProto() {
		p.Details = append(p.Details, g.detailJSON(detail))
	}
	return p
}

// detailJSON returns a detail of an error as JSON. If its type is unknown, the JSON contains the
// encoded message in Base64.
func (g *Gateway) detailJSON(detail *anypb.Any) json.RawMessage {
	encoded, err := protojson.MarshalOptions{Resolver: g.registry}.Marshal(detail)
	if err == nil {
		return encoded
	}
	unknown := struct {
		Type  string `json:"@type"`
		Value []byte `json:"@value"`
	}{detail.GetTypeUrl(), detail.GetValue()}
	if encoded, err = json.Marshal(unknown); err != nil {
		return json.RawMessage(`{}`)
	}
	return encoded
}

// statusOf returns the HTTP status for an error.
func statusOf(err error) int { return coded(err).ToHttp() }

// headerSetter is an http.Header or a connect.Header.
type headerSetter interface{ Set(name, value string) }

// setRetryAfter asks the client to try again after one second if a limit has refused its request.
func setRetryAfter(h headerSetter, err error) {
	if coded(err).Code() == errors.ResourceExhausted {
		h.Set("Retry-After", "1")
	}
}

// writeProblem writes an error as the whole response.
func (g *Gateway) writeProblem(w http.ResponseWriter, err error) {
	g.writeProblemAs(w, statusOf(err), err)
}

// writeProblemAs is like writeProblem, with another HTTP status.
func (g *Gateway) writeProblemAs(w http.ResponseWriter, status int, err error) {
	header := w.Header()
	header.Set("Content-Type", typeJSON)
	header.Set("Cache-Control", "no-store")
	setRetryAfter(header, err)
	w.WriteHeader(status)
	_, _ = w.Write(append(g.problemJSON(err, ""), '\n'))
}
