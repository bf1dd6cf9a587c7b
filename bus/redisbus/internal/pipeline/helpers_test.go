package pipeline_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/pipeline"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// interval is the probe interval of the pipelines in the tests.
const interval = 3 * time.Second

// completion records how a command has been completed.
type completion struct {
	name  string
	reply int64
	err   error
}

// command is a command whose name is sent to the server.
type command struct {
	name string
	// padding is a number of additional bytes.
	padding int
	done    chan<- completion
}

func (c command) Size() int { return len(c.name) + c.padding }

func (c command) Write(w *bufio.Writer) {
	resp.WriteCommand(w, c.name, strings.Repeat("x", c.padding))
}

func (c command) Complete(reply int64, err error) { c.done <- completion{c.name, reply, err} }

// session is the session of a pipeline in a test.
type session struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func newSession() *session {
	s := &session{}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

func (s *session) Context() context.Context { return s.ctx }
func (s *session) Err() error               { return context.Cause(s.ctx) }
func (s *session) Fail(cause error)         { s.cancel(cause) }

var errSessionEnds = errors.New("the session ends")

// server is the server's end of a pipeline's connection. The test chooses its replies.
type server struct {
	conn net.Conn
	// batches receives the names of the commands that were written together.
	batches chan []string
}

// newServer returns a server and the connection to it. The server reads commands after its method
// read has been called.
func newServer() (*server, *resp.Conn) {
	client, conn := net.Pipe()
	return &server{conn: conn, batches: make(chan []string, 10_000)}, resp.NewConn(client, client.Close)
}

// read reads commands until the connection is closed. Then it closes batches.
func (s *server) read() {
	defer close(s.batches)
	r := bufio.NewReaderSize(s.conn, 1<<20) // larger than the buffer of the writer, which writes it as a whole
	for {
		var names []string
		for first := true; first || r.Buffered() > 0; first = false {
			name, err := readName(r)
			if err != nil {
				return
			}
			names = append(names, name)
		}
		s.batches <- names
	}
}

// readName reads a command and returns its first argument.
func readName(r *bufio.Reader) (string, error) {
	number := func() (int, error) {
		line, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	args, err := number()
	name := ""
	for i := 0; i < args && err == nil; i++ {
		var size int
		if size, err = number(); err != nil {
			break
		}
		arg := make([]byte, size+len("\r\n"))
		if _, err = io.ReadFull(r, arg); i == 0 {
			name = string(arg[:size])
		}
	}
	return name, err
}

// reply sends text to the pipeline. It returns when the pipeline has read it.
func (s *server) reply(t *testing.T, text string) {
	t.Helper()
	_, err := io.WriteString(s.conn, text)
	require.NoError(t, err)
}

// replyNumbers replies to the next commands with these numbers.
func (s *server) replyNumbers(t *testing.T, numbers ...int) {
	t.Helper()
	var text strings.Builder
	for _, n := range numbers {
		fmt.Fprintf(&text, ":%d\r\n", n)
	}
	s.reply(t, text.String())
}

// bubble is a pipeline in a bubble of package synctest: time passes only when all goroutines wait.
type bubble struct {
	*pipeline.Pipeline[command]

	t       *testing.T
	session *session
	// server is the other end of the first connection.
	server *server
	// done receives the completions of the commands.
	done chan completion
	// ended is closed when Run has returned.
	ended chan struct{}
}

// config returns the configuration of a required pipeline. change may modify it.
func config(s *session, change func(*pipeline.Config)) pipeline.Config {
	c := pipeline.Config{
		Session: s, Required: true, Capacity: 100, MaxBatch: 100, ProbeInterval: interval,
		Dial:    func(context.Context) (*resp.Conn, error) { return nil, errors.New("a test without Dial") },
		Refresh: func(context.Context) {},
	}
	if change != nil {
		change(&c)
	}
	return c
}

// inBubble runs test with a pipeline that is connected to a server. Afterwards, it ends the session
// and requires that Run returns.
func inBubble(t *testing.T, change func(*pipeline.Config), test func(t *testing.T, b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t, session: newSession(), done: make(chan completion, 10_000), ended: make(chan struct{})}
		var conn *resp.Conn
		b.server, conn = newServer()
		b.Pipeline = pipeline.New[command](config(b.session, change), conn)
		go b.server.read() // this goroutine ends with the connection
		go func() {        // this goroutine ends with the session
			b.Run()
			close(b.ended)
		}()
		defer func() {
			b.session.Fail(errSessionEnds)
			<-b.ended
			assert.Empty(t, b.done, "completions that the test has not expected")
		}()
		synctest.Wait()
		test(t, b)
	})
}

// send sends commands one by one.
func (b *bubble) send(names ...string) {
	b.t.Helper()
	for _, name := range names {
		require.NoError(b.t, b.Send(b.t.Context(), command{name: name, done: b.done}))
	}
	synctest.Wait()
}

// enqueue enqueues commands without flushing them.
func (b *bubble) enqueue(names ...string) {
	b.t.Helper()
	for _, name := range names {
		require.NoError(b.t, b.Enqueue(b.t.Context(), command{name: name, done: b.done}))
	}
	synctest.Wait()
}

// requireBatches requires that the server has received exactly these batches since the last call.
// The commands of a batch are separated by spaces.
func (b *bubble) requireBatches(want ...string) {
	b.t.Helper()
	synctest.Wait()
	got := []string{}
	for len(b.server.batches) > 0 {
		got = append(got, strings.Join(<-b.server.batches, " "))
	}
	require.Equal(b.t, append([]string{}, want...), got)
}

// requireReplies requires that exactly these commands have been completed since the last call, with
// these replies. Each element consists of a name and a number.
func (b *bubble) requireReplies(want ...string) {
	b.t.Helper()
	synctest.Wait()
	got := []string{}
	for len(b.done) > 0 {
		c := <-b.done
		require.NoError(b.t, c.err, c.name)
		got = append(got, c.name+" "+strconv.FormatInt(c.reply, 10))
	}
	require.Equal(b.t, append([]string{}, want...), got)
}

// requireErrors requires that exactly these commands have been completed since the last call, all
// of them with an error that contains text. It returns the last error.
func (b *bubble) requireErrors(text string, want ...string) (err error) {
	b.t.Helper()
	synctest.Wait()
	got := []string{}
	for len(b.done) > 0 {
		c := <-b.done
		require.ErrorContains(b.t, c.err, text, c.name)
		require.Zero(b.t, c.reply)
		got, err = append(got, c.name), c.err
	}
	require.Equal(b.t, append([]string{}, want...), got)
	return err
}
