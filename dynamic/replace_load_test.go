package dynamic_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// replaceLoad calls a service from several goroutines while the service is replaced again and
// again.
type replaceLoad struct {
	*versionsWorld

	methods      []string
	replacements int
	callers      int
	calls        int // calls of each caller between two replacements

	serving atomic.Int64 // the version that the last Replace has registered
	handled atomic.Int64
}

// version returns handlers that count their requests and respond with the version.
func (l *replaceLoad) version(number int) dynamic.Handlers {
	name := strconv.Itoa(number)
	answer := dynamic.Unary(func(context.Context, text) (text, error) {
		l.handled.Add(1)
		return say(name), nil
	})
	return dynamic.Handlers{"Queue": answer, "Direct": answer, "Best": answer, "All": answer, "Region": answer}
}

// run starts the callers. It replaces the service each time they have made a certain number of
// calls.
func (l *replaceLoad) run(t *testing.T) {
	l.replace(t, l.version(1)).Kill() // this version has not handled any request
	l.serving.Store(1)
	require.NoError(t, l.service.RegisterTopic("Region", "eu"))
	var calling, closing sync.WaitGroup
	calls := make(chan struct{}, l.callers)
	for range l.callers {
		calling.Go(func() { l.call(t, calls) })
	}
	go func() { // this goroutine ends with the callers
		calling.Wait()
		close(calls)
	}()
	made, number := 0, 1
	for range calls {
		if made++; number <= l.replacements && made == number*l.callers*l.calls {
			number++
			before := l.replace(t, l.version(number))
			l.serving.Store(int64(number))
			// For every second replacement, wait until the old version has been closed. Otherwise,
			// close the old version in the background, while further replacements follow.
			if number%2 == 0 {
				require.NoError(t, before.Close(context.Background()))
			} else {
				closing.Go(func() { assert.NoError(t, before.Close(context.Background())) })
			}
		}
	}
	closing.Wait()
	total := (l.replacements + 1) * l.callers * l.calls
	assert.Equal(t, total, made)
	assert.EqualValues(t, total, l.handled.Load(), "each request is handled once")
	assert.Equal(t, l.replacements+1, number)
}

// call makes the calls of one caller. All of them must succeed, and no response may come from an
// older version than the previous response.
func (l *replaceLoad) call(t *testing.T, calls chan<- struct{}) {
	var clients []*dynamic.Client[text, text]
	for _, method := range l.methods {
		client, err := dynamic.NewClient[text, text](l.conn, method)
		if !assert.NoError(t, err) {
			return
		}
		if method == versionsRegion {
			client = client.Topic("eu")
		}
		clients = append(clients, client)
	}
	seen := int64(0)
	for i := range (l.replacements + 1) * l.calls {
		seen = max(seen, l.serving.Load())
		n := i % len(clients)
		answer := callOnce(t, clients[n], l.methods[n] == versionsAll)
		if !assert.GreaterOrEqual(t, answer, seen, "%s: an older version has answered", l.methods[n]) {
			return
		}
		seen = answer
		calls <- struct{}{}
	}
}

// callOnce makes a call and returns the version that responded. It fails the test if several
// servers responded.
func callOnce(t *testing.T, client *dynamic.Client[text, text], multi bool) int64 {
	timeout := dynamic.WithRequestTimeout(atOnce)
	var answers []text
	if multi {
		for response := range client.Responses(t.Context(), say(""), timeout) {
			assert.NoError(t, response.Err)
			answers = append(answers, response.Result)
		}
	} else {
		answer, err := client.Call(t.Context(), say(""), timeout)
		assert.NoError(t, err)
		answers = append(answers, answer)
	}
	if !assert.Len(t, answers, 1) {
		return -1
	}
	version, err := strconv.ParseInt(answers[0].GetValue(), 10, 64)
	assert.NoError(t, err)
	return version
}

func TestReplace_NoCallerNotices(t *testing.T) {
	t.Parallel()
	for _, callers := range []int{1, 10} {
		t.Run(strconv.Itoa(callers), func(t *testing.T) {
			t.Parallel()
			l := &replaceLoad{
				versionsWorld: newVersionsWorld(t, bus.NewLocal()),
				methods:       []string{versionsQueue, versionsBest, versionsDirect, versionsAll, versionsRegion},
				replacements:  20, callers: callers, calls: 200 / callers,
			}
			l.run(t)
		})
	}
}

func TestReplace_NoCallerNoticesOverRedis(t *testing.T) {
	t.Parallel()
	l := &replaceLoad{
		versionsWorld: newVersionsWorld(t, redisBus(t, testenv.Redis(t))),
		methods:       []string{versionsQueue, versionsBest, versionsDirect, versionsAll, versionsRegion},
		replacements:  10, callers: 4, calls: 25,
	}
	l.run(t)
}

// This test makes no affinity calls and no multi calls, because those wait longer over NATS.
func TestReplace_NoCallerNoticesOverNATS(t *testing.T) {
	t.Parallel()
	nc, err := nats.Connect(testenv.NATS(t).URL(), nats.ReconnectBufSize(-1))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	b, err := natsbus.New(nc, natsbus.WithProbeInterval(patience))
	require.NoError(t, err)
	l := &replaceLoad{
		versionsWorld: newVersionsWorld(t, b),
		methods:       []string{versionsQueue, versionsDirect, versionsRegion},
		replacements:  10, callers: 4, calls: 25,
	}
	l.run(t)
}
