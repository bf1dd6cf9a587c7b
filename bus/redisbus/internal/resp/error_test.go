package resp_test

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// An error reply must be recognized even if it is wrapped, and a failure of the connection must
// never be taken for one: a lock may have been taken although no reply has arrived.
func TestErrors_AreClassified(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err        error
		isError    bool
		code, text string
		transient  bool
	}{
		{nil, false, "", "", false},
		{io.EOF, false, "", "", false},
		{context.DeadlineExceeded, false, "", "", false},
		{errors.New("MOVED 1 a:1"), false, "", "", false},
		{redis.ErrClosed, false, "", "", false},
		{redis.Nil, true, "redis:", "redis: nil", false},
		{resp.Error("MOVED 1 a:1"), true, "MOVED", "MOVED 1 a:1", true},
		{fmt.Errorf("taking the lock: %w", resp.Error("MOVED 1 a:1")), true, "MOVED", "MOVED 1 a:1", true},
		{errors.NewErrorf(errors.Unavailable, "%w", resp.Error("ASK 1 a:1")), true, "ASK", "ASK 1 a:1", true},
		{resp.Error("TRYAGAIN"), true, "TRYAGAIN", "TRYAGAIN", true},
		{resp.Error("CLUSTERDOWN The cluster is down"), true, "CLUSTERDOWN", "CLUSTERDOWN The cluster is down", true},
		{resp.Error("MASTERDOWN x"), true, "MASTERDOWN", "MASTERDOWN x", true},
		{resp.Error("LOADING x"), true, "LOADING", "LOADING x", true},
		{resp.Error("READONLY x"), true, "READONLY", "READONLY x", false},
		{resp.Error("OOM x"), true, "OOM", "OOM x", false},
		{resp.Error("MOVEDX x"), true, "MOVEDX", "MOVEDX x", false},
		{resp.Error(""), true, "", "", false},
	} {
		assert.Equal(t, tt.isError, resp.IsError(tt.err), "%v", tt.err)
		assert.Equal(t, tt.code, resp.ErrorCode(tt.err), "%v", tt.err)
		assert.Equal(t, tt.text, resp.ErrorText(tt.err), "%v", tt.err)
		assert.Equal(t, tt.transient, resp.IsTransient(tt.err), "%v", tt.err)
		assert.True(t, resp.HasCode(tt.err, tt.code), "%v", tt.err)
		assert.False(t, resp.HasCode(tt.err, "NOPERM"), "%v", tt.err)
	}
}
