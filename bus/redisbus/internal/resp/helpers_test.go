package resp_test

import (
	"bufio"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newReader(text string) *bufio.Reader { return bufio.NewReader(strings.NewReader(text)) }
