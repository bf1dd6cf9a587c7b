package resp

import (
	"bufio"
	"net"
	"os"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// bufferSize is the size of the read buffer and of the write buffer of a [Conn], in bytes. Larger
// frames bypass the buffers.
const bufferSize = 64 << 10

// Conn is a connection to Redis on which the bus reads and writes RESP2 itself. Commands can
// therefore be written while earlier ones wait for their replies, and receiving a frame allocates
// nothing but the frame.
//
// One goroutine at a time may use Reader, and one at a time may use Writer. Interrupt, Close and
// the methods that set deadlines may be called at any time.
type Conn struct {
	// Conn is the connection to Redis, without the buffers. Its method Close is hidden by that of
	// the outer type.
	net.Conn

	// Reader and Writer are the buffered sides of the connection.
	Reader *bufio.Reader
	Writer *bufio.Writer
	// BeforeRead is called before each Read from the network, on the goroutine that uses Reader.
	// Such a Read is needed when Reader's buffer does not contain another complete reply or push.
	// BeforeRead must not be changed while another goroutine uses Reader.
	BeforeRead func()
	// OnDeadline is called when the read deadline has passed, on the goroutine that uses Reader. If
	// OnDeadline returns nil, the Read is tried again. Otherwise it fails with the error. By
	// default, it fails with os.ErrDeadlineExceeded. OnDeadline must not be changed while another
	// goroutine uses Reader.
	OnDeadline func() error

	closeConn func() error
}

// NewConn returns a Conn that reads from and writes to network. Close calls closeConn, which must
// close network.
func NewConn(network net.Conn, closeConn func() error) *Conn {
	c := &Conn{
		Conn: network, closeConn: closeConn,
		BeforeRead: func() {},
		OnDeadline: func() error { return os.ErrDeadlineExceeded },
	}
	c.Reader, c.Writer = bufio.NewReaderSize(c, bufferSize), bufio.NewWriterSize(c, bufferSize)
	return c
}

// Close closes the connection. A Read or Write in progress then returns an error.
func (c *Conn) Close() error { return c.closeConn() }

// Read reads from the network. It calls BeforeRead before each attempt, and OnDeadline whenever the
// read deadline has passed. Callers read from Reader instead.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		c.BeforeRead()
		n, err := c.Conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if err := c.OnDeadline(); err != nil {
			return 0, err
		}
	}
}

// Interrupt sets the read deadline to the current time. If a Read is in progress, that Read calls
// OnDeadline at once. Otherwise the next Read does.
func (c *Conn) Interrupt() { _ = c.SetReadDeadline(time.Now()) }
