package testenv_test

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testTimeout = 20 * time.Second

// lineConn is one end of a connection with a line-based protocol.
type lineConn struct {
	t *testing.T
	*net.TCPConn
	lines *bufio.Reader
}

func connect(addr string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: testTimeout}
	return dialer.DialContext(context.Background(), "tcp", addr)
}

func dial(t *testing.T, addr string) *lineConn {
	t.Helper()
	conn, err := connect(addr)
	require.NoError(t, err)
	return newLineConn(t, conn)
}

func newLineConn(t *testing.T, conn net.Conn) *lineConn {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(testTimeout)))
	return &lineConn{t: t, TCPConn: conn.(*net.TCPConn), lines: bufio.NewReader(conn)}
}

func (p *lineConn) send(line string) {
	p.t.Helper()
	_, err := p.Write([]byte(line + "\r\n"))
	require.NoError(p.t, err)
}

func (p *lineConn) receive() string {
	p.t.Helper()
	line, err := p.lines.ReadString('\n')
	require.NoError(p.t, err)
	return strings.TrimSpace(line)
}

// request sends a line and returns the line that the other end sends in response.
func (p *lineConn) request(line string) string {
	p.t.Helper()
	p.send(line)
	return p.receive()
}

// requireNoData fails the test if data or the end of the connection arrives within 50 ms.
func (p *lineConn) requireNoData() {
	p.t.Helper()
	require.NoError(p.t, p.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := p.lines.ReadByte()
	var timeout net.Error
	require.ErrorAs(p.t, err, &timeout)
	require.True(p.t, timeout.Timeout(), "%v", err)
	require.NoError(p.t, p.SetReadDeadline(time.Now().Add(testTimeout)))
}

func (p *lineConn) requireEnd(want error) {
	p.t.Helper()
	_, err := p.lines.ReadByte()
	require.ErrorIs(p.t, err, want)
}
