package mock

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// maxCost limits the work of one evaluation, so that an expression cannot run for long. One unit is
// about one operation of the expression.
const maxCost = 1_000_000

// expression is an expression in the Common Expression Language about a request.
type expression struct {
	method  *registry.Method
	program cel.Program
	result  *cel.Type
}

// input contains the values of the variables that an expression may use.
type input struct {
	// request is nil for an update.
	request  proto.Message
	metadata map[string]string
	topic    []string
	number   int64
}

// newExpression compiles an expression. The variable request has the type of the method's requests,
// so that misspelled fields are errors. For a subscription, it is null.
func newExpression(method *registry.Method, text string) (*expression, error) {
	request := cel.ObjectType(string(method.Input().FullName()))
	if method.Kind() == registry.KindSubscription {
		request = cel.NullType
	}
	env, err := cel.NewEnv(
		cel.TypeDescs(filesOf(method.Descriptor().ParentFile())...),
		cel.Container(string(method.Descriptor().ParentFile().Package())),
		cel.Variable("request", request),
		cel.Variable("metadata", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("topic", cel.ListType(cel.StringType)),
		cel.Variable("n", cel.IntType),
		ext.Strings(), ext.Math(),
	)
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	program, err := env.Program(ast, cel.CostLimit(maxCost))
	if err != nil {
		return nil, err
	}
	return &expression{method, program, ast.OutputType()}, nil
}

// filesOf returns a file and all files that it imports.
func filesOf(file protoreflect.FileDescriptor) []any {
	var files []any
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] || file.IsPlaceholder() {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		files = append(files, file)
	}
	add(file)
	return files
}

// isBool reports whether the result of the expression is a bool. It is also true if the type of the
// result is known only at run time.
func (e *expression) isBool() bool {
	return e.result.IsExactType(cel.BoolType) || e.result.IsExactType(cel.DynType)
}

func (e *expression) evaluate(in input) (any, error) {
	variables := map[string]any{
		"request": in.request, "metadata": in.metadata, "topic": in.topic, "n": in.number,
	}
	if in.request == nil {
		variables["request"] = types.NullValue
	}
	if in.metadata == nil {
		variables["metadata"] = map[string]string{}
	}
	if in.topic == nil {
		variables["topic"] = []string{}
	}
	value, _, err := e.program.Eval(variables)
	if err != nil {
		return nil, err
	}
	if value.Type() == types.MapType {
		converted, err := value.ConvertToNative(types.JSONStructType)
		if err != nil {
			return nil, err
		}
		return converted, nil
	}
	return value.Value(), nil
}

func (e *expression) evaluateBool(in input) (bool, error) {
	value, err := e.evaluate(in)
	if err != nil {
		return false, err
	}
	holds, ok := value.(bool)
	if !ok {
		return false, fmt.Errorf("the result is a %T, not true or false", value)
	}
	return holds, nil
}

// evaluateMessage returns the response that the expression makes. The result of the expression must
// be a message, or a map with the fields of the message as in JSON.
func (e *expression) evaluateMessage(in input) (proto.Message, error) {
	value, err := e.evaluate(in)
	if err != nil {
		return nil, err
	}
	response, err := newMessage(e.method.Service(), e.method.Output())
	if err != nil {
		return nil, err
	}
	fields, isMap := value.(*structpb.Struct)
	if isMap && e.method.Output().FullName() != fields.ProtoReflect().Descriptor().FullName() {
		encoded, err := protojson.Marshal(fields)
		if err != nil {
			return nil, err
		}
		return response, protojson.UnmarshalOptions{Resolver: e.method.Service()}.Unmarshal(encoded, response)
	}
	made, ok := value.(proto.Message)
	if !ok || made.ProtoReflect().Descriptor().FullName() != e.method.Output().FullName() {
		return nil, errors.NewErrorf(errors.Internal, "the result is a %T, not a %s or a map with its fields", value, e.method.Output().FullName())
	}
	// Encode and decode the message, because its Go type may differ from that of the response.
	encoded, err := proto.Marshal(made)
	if err != nil {
		return nil, err
	}
	return response, proto.UnmarshalOptions{Resolver: e.method.Service()}.Unmarshal(encoded, response)
}
