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

const patience = 20 * time.Second

// peer is one end of a connection on which lines travel.
type peer struct {
	t *testing.T
	*net.TCPConn
	lines *bufio.Reader
}

func connect(addr string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: patience}
	return dialer.DialContext(context.Background(), "tcp", addr)
}

func dial(t *testing.T, addr string) *peer {
	t.Helper()
	conn, err := connect(addr)
	require.NoError(t, err)
	return newPeer(t, conn)
}

func newPeer(t *testing.T, conn net.Conn) *peer {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	return &peer{t: t, TCPConn: conn.(*net.TCPConn), lines: bufio.NewReader(conn)}
}

func (p *peer) say(line string) {
	p.t.Helper()
	_, err := p.Write([]byte(line + "\r\n"))
	require.NoError(p.t, err)
}

func (p *peer) hear() string {
	p.t.Helper()
	line, err := p.lines.ReadString('\n')
	require.NoError(p.t, err)
	return strings.TrimSpace(line)
}

// ask is for protocols in which a line is answered by a line.
func (p *peer) ask(line string) string {
	p.t.Helper()
	p.say(line)
	return p.hear()
}

// requireSilence fails the test if anything comes within a while, be it the connection's end.
func (p *peer) requireSilence() {
	p.t.Helper()
	require.NoError(p.t, p.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := p.lines.ReadByte()
	var timeout net.Error
	require.ErrorAs(p.t, err, &timeout)
	require.True(p.t, timeout.Timeout(), "%v", err)
	require.NoError(p.t, p.SetReadDeadline(time.Now().Add(patience)))
}

func (p *peer) requireEnd(want error) {
	p.t.Helper()
	_, err := p.lines.ReadByte()
	require.ErrorIs(p.t, err, want)
}
