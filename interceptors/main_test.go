package interceptors

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var say = wrapperspb.String

// must returns value. It panics if err is not nil, which happens only if the test is wrong.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// requireCode requires that err has the given code, and returns err as an errors.Error.
func requireCode(t testing.TB, code errors.ErrorCode, err error) errors.Error {
	t.Helper()
	coded, ok := errors.AsType[errors.Error](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, code, coded.Code(), "%v", err)
	return coded
}

// capturedLog is a slog.Handler that keeps all records in memory.
type capturedLog struct {
	least   slog.Level
	mu      sync.Mutex
	records []map[string]any
}

func (l *capturedLog) Enabled(_ context.Context, level slog.Level) bool { return level >= l.least }
func (l *capturedLog) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *capturedLog) WithGroup(string) slog.Handler                    { return l }

func (l *capturedLog) Handle(_ context.Context, record slog.Record) error {
	attributes := map[string]any{"msg": record.Message, "level": record.Level}
	record.Attrs(func(attribute slog.Attr) bool {
		attributes[attribute.Key] = attribute.Value.Any()
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, attributes)
	return nil
}

// all returns the attributes of each record. The message has the key "msg", and the level has the
// key "level".
func (l *capturedLog) all() []map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]map[string]any(nil), l.records...)
}
