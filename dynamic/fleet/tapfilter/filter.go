package tapfilter

import (
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// maxExpression is the maximum length of an expression in bytes.
	maxExpression = 4 << 10
	// maxCost is the maximum cost of an evaluation, in units of CEL. One unit is about one
	// operation.
	maxCost = 100_000
	// maxDepth is the maximum nesting depth of the messages that an expression can see.
	maxDepth = 16
)

// Compile compiles an expression. It returns an error with code invalid_argument if the expression
// is not valid. The returned filter is safe for concurrent use. If an expression cannot be
// evaluated for an event, for example because a message has no such field, the event is not
// selected.
func Compile(expression string) (fleet.TapFilter, error) {
	if len(expression) > maxExpression {
		return nil, errors.NewErrorf(errors.InvalidArgument, "the filter has more than %d bytes", maxExpression)
	}
	env, err := environment()
	if err != nil {
		return nil, errors.NewErrorf(errors.Internal, "filter: %w", err)
	}
	checked, issues := env.Compile(expression)
	if err := issues.Err(); err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "filter: %w", err)
	}
	if kind := checked.OutputType(); kind != cel.BoolType && kind != cel.DynType {
		return nil, errors.NewErrorf(errors.InvalidArgument, "filter: the expression is of type %s, not bool", kind)
	}
	if usesMatches(checked) {
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"filter: the function matches is not permitted, because it may take minutes; use contains, startsWith or endsWith")
	}
	program, err := env.Program(checked, cel.CostLimit(maxCost))
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "filter: %w", err)
	}
	return func(event *fleet.TapEvent, message protoreflect.Message) bool {
		result, _, err := program.Eval(&activation{event: event, message: message})
		return err == nil && result == types.True
	}, nil
}

// environment returns the variables of all expressions.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("at", cel.TimestampType), cel.Variable("kind", cel.StringType),
		cel.Variable("method", cel.StringType), cel.Variable("topic", cel.ListType(cel.StringType)),
		cel.Variable("client_id", cel.StringType), cel.Variable("request_id", cel.StringType),
		cel.Variable("duration", cel.DurationType), cel.Variable("code", cel.StringType),
		cel.Variable("affinity", cel.DoubleType), cel.Variable("metadata", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("message", cel.DynType),
		cel.CrossTypeNumericComparisons(true),
	)
})

// usesMatches reports whether an expression calls the function matches, which evaluates a regular
// expression. CEL checks the cost of an evaluation only after each operation. A regular expression
// of a few kilobytes can keep a processor busy for minutes in one operation.
func usesMatches(expression *cel.Ast) bool {
	root := ast.NavigateAST(expression.NativeRep())
	return len(ast.MatchDescendants(root, ast.FunctionMatcher(overloads.Matches))) > 0
}

// activation contains the variables of an evaluation. It converts only those that the expression
// uses.
type activation struct {
	event   *fleet.TapEvent
	message protoreflect.Message
	// fields contains the converted message. It is nil until the expression uses the message.
	fields map[string]any
}

// Parent implements cel.Activation.
func (*activation) Parent() cel.Activation { return nil }

// ResolveName implements cel.Activation.
func (a *activation) ResolveName(name string) (any, bool) {
	e := a.event
	switch name {
	case "at":
		return e.At, true
	case "kind":
		return e.Kind.String(), true
	case "method":
		return e.Method, true
	case "topic":
		return e.Topic, true
	case "client_id":
		return e.ClientID, true
	case "request_id":
		return e.RequestID, true
	case "duration":
		return e.Duration, true
	case "code":
		return string(e.Code), true
	case "affinity":
		return float64(e.Affinity), true
	case "metadata":
		return e.Metadata, true
	case "message":
		if a.message == nil {
			return types.NullValue, true
		}
		if a.fields == nil {
			a.fields = fields(a.message, maxDepth)
		}
		return a.fields, true
	default:
		return nil, false
	}
}

// fields returns the fields of a message, keyed by name. Messages that are nested more deeply than
// depth are left out.
func fields(message protoreflect.Message, depth int) map[string]any {
	descriptors := message.Descriptor().Fields()
	values := make(map[string]any, descriptors.Len())
	for i := range descriptors.Len() {
		field := descriptors.Get(i)
		switch {
		case field.IsMap():
			values[string(field.Name())] = mapOf(field.MapValue(), message.Get(field).Map(), depth)
		case field.IsList():
			values[string(field.Name())] = listOf(field, message.Get(field).List(), depth)
		case field.Message() != nil && !message.Has(field):
			values[string(field.Name())] = nil
		default:
			values[string(field.Name())] = valueOf(field, message.Get(field), depth)
		}
	}
	return values
}

func listOf(field protoreflect.FieldDescriptor, list protoreflect.List, depth int) []any {
	values := make([]any, list.Len())
	for i := range values {
		values[i] = valueOf(field, list.Get(i), depth)
	}
	return values
}

func mapOf(field protoreflect.FieldDescriptor, from protoreflect.Map, depth int) map[any]any {
	values := make(map[any]any, from.Len())
	from.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		values[keyOf(key)] = valueOf(field, value, depth)
		return true
	})
	return values
}

// keyOf returns the key of a map as CEL represents it: all integers have 64 bits.
func keyOf(key protoreflect.MapKey) any {
	switch key := key.Interface().(type) {
	case int32:
		return int64(key)
	case uint32:
		return uint64(key)
	default:
		return key
	}
}

// valueOf returns the value of a field, or an element of a list or map, as CEL represents it. field
// describes the value.
func valueOf(field protoreflect.FieldDescriptor, value protoreflect.Value, depth int) any {
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if depth == 0 {
			return nil
		}
		return fields(value.Message(), depth-1)
	case protoreflect.EnumKind:
		return int64(value.Enum())
	case protoreflect.BoolKind:
		return value.Bool()
	case protoreflect.StringKind:
		return value.String()
	case protoreflect.BytesKind:
		return value.Bytes()
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return value.Float()
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return value.Uint()
	default:
		return value.Int()
	}
}
