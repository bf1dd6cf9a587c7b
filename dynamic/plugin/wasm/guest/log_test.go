package guest

import (
	"bytes"
	"log"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestLogger_Lines checks the lines of the log. It is not parallel, because without a host the
// output goes to the standard logger of package log.
func TestLogger_Lines(t *testing.T) {
	defer log.SetOutput(log.Writer())
	defer log.SetFlags(log.Flags())
	var output bytes.Buffer
	log.SetOutput(&output)
	log.SetFlags(0)

	Log(slog.LevelWarn, "plain")
	logger := Logger()
	logger.Info("bare")
	logger.Debug("attributes", "name", "Ada", "level", "high", "time", 5, "msg", "hello")
	logger.With("a", 1).WithGroup("g").Error("grouped", "b", "two words")
	assert.Equal(t, "WARN plain\nINFO bare\n"+
		"DEBUG attributes name=Ada level=high time=5 msg=hello\n"+
		"ERROR grouped a=1 g.b=\"two words\"\n", output.String())
}
