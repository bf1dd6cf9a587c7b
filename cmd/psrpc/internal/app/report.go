package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Report prints err and returns the exit code of the run. It prints nothing if err is nil or only
// sets an exit code. If there is an error after ctx has ended, the run was interrupted: Report
// prints nothing and returns [ExitInterrupted].
func (a *App) Report(ctx context.Context, err error) int {
	code := CodeOf(err)
	if err != nil && ctx.Err() != nil {
		return ExitInterrupted
	}
	exit, ok := errors.AsType[*exitError](err)
	if err == nil || ok && exit.err == nil {
		return code
	}
	if a.Format() == FormatJSON {
		a.reportJSON(err)
		return code
	}
	var text strings.Builder
	text.WriteString("psrpc: " + Printable(describe(err)) + "\n")
	if ok {
		for _, hint := range exit.hints {
			text.WriteString("  " + Printable(hint) + "\n")
		}
	}
	a.writeErr(text.String())
	return code
}

// describe returns the text of err for people. For the error of a server, it consists of the code,
// the text and the server.
func describe(err error) string {
	facts, _ := errors.FactsOf(err)
	if facts.Reason == errors.ReasonNobodyListening {
		return fmt.Sprintf("nobody listens to %s%s (publish %s)", facts.Method, topicSuffix(facts.Topic), human.Duration(facts.PublishTime))
	}
	exit, ok := errors.AsType[*exitError](err)
	coded, isCoded := errors.AsType[errors.Error](err)
	if !ok || !isCoded || exit.code < ExitRPC || exit.code == ExitInterrupted {
		return err.Error()
	}
	text := string(coded.Code()) + ": " + err.Error()
	if exit.server != "" && !strings.Contains(text, exit.server) {
		text += " (from " + exit.server + ")"
	}
	return text
}

func topicSuffix(topic []string) string {
	if len(topic) == 0 {
		return ""
	}
	return fmt.Sprintf(" on topic %s", strings.Join(topic, ","))
}

// errorDocument is an error in the format json.
type errorDocument struct {
	Code     string            `json:"code"`
	Message  string            `json:"message"`
	Server   string            `json:"server,omitempty"`
	Details  []json.RawMessage `json:"details,omitempty"`
	Phase    string            `json:"phase,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	Declined []string          `json:"declined,omitempty"`
	Took     string            `json:"took,omitempty"`
	Hints    []string          `json:"hints,omitempty"`
	Exit     int               `json:"exit"`
}

// reportJSON prints err as one line of JSON.
func (a *App) reportJSON(err error) {
	document := errorDocument{Code: "failed", Message: err.Error(), Exit: CodeOf(err)}
	if exit, ok := errors.AsType[*exitError](err); ok {
		document.Hints, document.Server = exit.hints, exit.server
		if exit.took > 0 {
			document.Took = human.Duration(exit.took)
		}
		switch exit.code {
		case ExitUsage:
			document.Code = "usage"
		case ExitUnreachable:
			document.Code = "unreachable"
		case ExitNobody:
			document.Code = "nobody"
		case ExitUnwanted:
			document.Code = "unwanted"
		}
	}
	if coded, ok := errors.AsType[errors.Error](err); ok {
		document.Code = string(coded.Code())
		document.Details = a.details(coded)
	}
	if facts, ok := errors.FactsOf(err); ok {
		document.Phase, document.Reason, document.Declined = string(facts.Phase), string(facts.Reason), facts.Declined
		document.Server = firstNonEmpty(facts.ServerID, document.Server)
		if took := facts.PublishTime + facts.SelectionTime + facts.ResponseTime; took > 0 {
			document.Took = human.Duration(took)
		}
	}
	line, err := marshalLine(document)
	if err == nil {
		a.writeErr(string(line))
	}
}

// details returns the details of an error as JSON. A detail of an unknown type is shown with its
// type and its encoded value.
func (a *App) details(coded errors.Error) []json.RawMessage {
	var details []json.RawMessage
	for _, detail := range coded.DetailsProto() {
		encoded, err := protojson.MarshalOptions{Resolver: a.Registry()}.Marshal(detail)
		if err != nil {
			encoded, err = json.Marshal(map[string]any{"@type": detail.GetTypeUrl(), "@value": detail.GetValue()})
		}
		if err == nil {
			details = append(details, compactJSON(encoded))
		}
	}
	return details
}
