package wasm

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// endlessLoop is the WebAssembly code of a loop that never ends.
var endlessLoop = []byte{opcodeLoop, blockEmpty, opBranch, 0, opcodeEnd}

// TestABI_FaultsInCalls calls modules in which one exported function is faulty. Each fault must
// discard the instance.
func TestABI_FaultsInCalls(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		export string
		body   []byte
		code   errors.ErrorCode
		logged string
	}{
		"trap in call":            {exportCall, []byte{opUnreachable}, errors.Internal, "unreachable"},
		"trap in alloc":           {exportAlloc, []byte{opUnreachable}, errors.Internal, "unreachable"},
		"endless call":            {exportCall, append(slices.Clone(endlessLoop), i64Const(0)...), errors.DeadlineExceeded, ""},
		"endless alloc":           {exportAlloc, append(slices.Clone(endlessLoop), i32Const(0)...), errors.DeadlineExceeded, ""},
		"endless recursion":       {exportCall, []byte{opLocalGet, 0, opLocalGet, 1, opLocalGet, 2, opLocalGet, 3, opcodeCall, 3}, errors.Internal, "stack overflow"},
		"no memory for a request": {exportAlloc, i32Const(0), errors.ResourceExhausted, "dynpsrpc_alloc(1024) returned 0"},
		"buffer beyond the end":   {exportAlloc, i32Const(65530), errors.Internal, "returned address 65530, which is beyond the end"},
		"response beyond the end": {exportCall, i64Const(65530<<32 | 7), errors.Internal, "7 bytes at address 65530, which is beyond the end"},
		"empty response anywhere": {exportCall, i64Const(-1 << 32), errors.OK, ""},
		"long response":           {exportCall, i64Const(5000), errors.Internal, "returned 5000 bytes, which exceeds the maximum of 4096"},
		"endless response":        {exportCall, i64Const(1<<31 - 1), errors.Internal, "bytes, which exceeds the maximum of 4096"},
		"error that is no error":  {exportCall, i64Const(listAddress<<32 | errorFlag | 15), errors.Internal, "a truncated error"},
		"error of no parts":       {exportCall, i64Const(errorFlag), errors.Internal, "an error of 0 parts"},
		"error beyond the end":    {exportCall, i64Const(65530<<32 | errorFlag | 7), errors.Internal, "7 bytes at address 65530"},
		"more memory than allowed": {exportCall, slices.Concat(
			i32Const(1000), []byte{opMemoryGrow, 0, opDrop, opUnreachable}), errors.ResourceExhausted, "memory limit of 131072 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limits := plugin.Limits{Memory: 2 * pageSize, Instances: 1, Timeout: plugin.Duration(time.Minute)}
			running, call := make(chan struct{}), (*guestCode).echo
			module := echoModule().with(test.export, test.body...)
			if test.code == errors.DeadlineExceeded {
				module.imports = []imported{importRunning}
				module.with(test.export, append([]byte{opcodeCall, 0}, test.body...)...)
				call = func(code *guestCode, t testing.TB, request string) (response string, err error) {
					t.Helper()
					err = endWhen(t, context.DeadlineExceeded, func() { receiveRunning(t, running) }, func(ctx context.Context) error {
						response, err = code.echoWithin(ctx, request)
						return err
					})
					return response, err
				}
			}
			code := load(t, module.encode(), echoService, limits, WithMaxResponse(4096), reportRunning(running))
			for n := range 3 { // each call gets a new instance
				response, err := call(code, t, "request")
				if test.code == errors.OK {
					require.NoError(t, err)
					assert.Empty(t, response)
					continue
				}
				coded := requireCode(t, test.code, err)
				assert.NotContains(t, coded.Error(), "unreachable")
				assert.Contains(t, code.log.String(), test.logged)
				assert.Equal(t, n+1, strings.Count(code.log.String(), "plugin instance discarded"))
				assert.Empty(t, code.pool.idle)
			}
		})
	}
}

func TestABI_GrowsUpToTheLimit(t *testing.T) {
	t.Parallel()
	grow := slices.Concat(i32Const(1), []byte{opMemoryGrow, 0, opI64ExtendU})
	// The code clears the result of memory.grow with a bitwise AND with 0, because a result of 0 is
	// an empty response.
	m := echoModule().with(exportCall, append(grow, 0x42, 0, 0x83)...)
	code := load(t, m.encode(), echoService, plugin.Limits{Memory: 3 * pageSize, Instances: 1})
	for range 10 { // the instance is kept even if the host refuses to grow its memory
		_, err := code.echo(t, "x")
		require.NoError(t, err)
	}
	in := code.pool.idle[0]
	assert.EqualValues(t, 3*pageSize, in.module.Memory().Size())
	assert.True(t, in.memory.refused)
}

func TestDecodeError_Parts(t *testing.T) {
	t.Parallel()
	part := func(s string) string { return string([]byte{byte(len(s)), 0, 0, 0}) + s }
	err := decodeError([]byte(part("not_found") + part("text") + part("type.googleapis.com/a.B") + part("value")))
	coded := requireCode(t, errors.NotFound, err)
	assert.Equal(t, "text", coded.Error())
	require.Len(t, coded.DetailsProto(), 1)
	assert.Equal(t, "type.googleapis.com/a.B", coded.DetailsProto()[0].GetTypeUrl())
	assert.Equal(t, "value", string(coded.DetailsProto()[0].GetValue()))

	for _, wrong := range []string{
		"", "abc", part("not_found"), part("not_found") + part("text") + part("type"), part("not_found") + "\x05\x00\x00\x00text",
		part("") + part("text"), part("no code") + part("text"), part("a") + part("b") + part("\xff") + part(""), "\xff\xff\xff\xff",
	} {
		_, failed := errors.AsType[*fault](decodeError([]byte(wrong)))
		assert.True(t, failed, "%q", wrong)
	}
}

func FuzzDecodeError(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00a\x01\x00\x00\x00b\x01\x00\x00\x00c\x01\x00\x00\x00d"))
	f.Fuzz(func(t *testing.T, encoded []byte) {
		err := decodeError(encoded)
		require.Error(t, err)
		if coded, ok := errors.AsType[errors.Error](err); ok {
			_, _, details := errors.ToWire(coded)
			require.Len(t, coded.Details(), len(details))
		}
	})
}

func FuzzMethodList(f *testing.F) {
	f.Add("a.B/C\na.B/D\n")
	f.Fuzz(func(t *testing.T, list string) {
		methods, err := parseMethodList(list)
		if err == nil {
			require.Equal(t, strings.TrimSuffix(list, "\n"), strings.Join(methods, "\n"))
			slices.Sort(methods)
			require.Equal(t, slices.Compact(slices.Clone(methods)), methods)
		}
	})
}

func TestMethodList_Wrong(t *testing.T) {
	t.Parallel()
	for list, wanted := range map[string]string{
		"a.B/C\n\na.B/D": `method ""`, "a.B": `method "a.B"`, "/C": `method "/C"`, "a.B/": `method "a.B/"`,
		"a.B/C\nd\na.B/C": `method "d"`, strings.Repeat("a.B/C\n", 2): `two handlers for "a.B/C"`,
	} {
		_, err := parseMethodList(list)
		assert.ErrorContains(t, err, wanted)
	}
}
