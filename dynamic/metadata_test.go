package dynamic_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

func TestOutgoingMetadataFromContext(t *testing.T) {
	t.Parallel()
	assert.Nil(t, dynamic.OutgoingMetadataFromContext(nil)) //nolint:staticcheck // must not panic
	assert.Nil(t, dynamic.OutgoingMetadataFromContext(context.Background()))
	ctx := dynamic.ContextWithMetadata(context.Background(), map[string]string{"a": "1", "b": "2"})
	ctx = dynamic.ContextWithMetadata(ctx, map[string]string{"b": "3"})
	metadata := dynamic.OutgoingMetadataFromContext(ctx)
	assert.Equal(t, map[string]string{"a": "1", "b": "3"}, metadata)
	metadata["a"] = "changed"
	assert.Equal(t, "1", dynamic.OutgoingMetadataFromContext(ctx)["a"], "the result is a copy")
}
