package redisbus_test

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// tokens is a provider of streaming credentials. The tests can change its token.
type tokens struct {
	mu        sync.Mutex
	current   auth.Credentials
	err       error
	listeners map[auth.CredentialsListener]bool
}

func newTokens() *tokens {
	return &tokens{current: auth.NewBasicCredentials("app", "token0"), listeners: map[auth.CredentialsListener]bool{}}
}

func (p *tokens) Subscribe(listener auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, nil, p.err
	}
	p.listeners[listener] = true
	return p.current, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.listeners, listener)
		return nil
	}, nil
}

// tell passes each listener that is subscribed to the provider to the function do.
func (p *tokens) tell(do func(auth.CredentialsListener)) {
	p.mu.Lock()
	var listeners []auth.CredentialsListener
	for listener := range p.listeners {
		listeners = append(listeners, listener)
	}
	p.mu.Unlock()
	for _, listener := range listeners {
		do(listener)
	}
}

func (p *tokens) set(token string) {
	credentials := auth.NewBasicCredentials("app", token)
	p.mu.Lock()
	p.current = credentials
	p.mu.Unlock()
	p.tell(func(listener auth.CredentialsListener) { listener.OnNext(credentials) })
}

func (p *tokens) subscriptions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.listeners)
}

var tokenUser = []any{"acl", "setuser", "app", "on", ">token0", "~*", "&*", "+@all"}

// The credentials come from a provider whose token changes. When Redis closes the connections that
// use the old token, the bus must reconnect with the new one.
func TestBus_StreamingCredentials(t *testing.T) {
	t.Parallel()
	single, nodes := testenv.Redis(t), testenv.RedisCluster(t)
	for name, tt := range map[string]struct {
		addresses []string
		opts      []redisbus.Option
	}{
		"single":          {[]string{single.Addr()}, nil},
		"cluster":         {nodes.Addrs(), nil},
		"sharded cluster": {nodes.Addrs(), []redisbus.Option{redisbus.WithShardedPubSub()}},
	} {
		provider := newTokens()
		onAll := func(command ...any) {
			for _, address := range tt.addresses {
				admin := redis.NewClient(&redis.Options{Addr: address})
				require.NoError(t, admin.Do(t.Context(), command...).Err())
				require.NoError(t, admin.Close())
			}
		}
		onAll(tokenUser...)
		var client redis.UniversalClient
		if len(tt.addresses) == 1 {
			client = redis.NewClient(&redis.Options{Addr: tt.addresses[0], StreamingCredentialsProvider: provider})
		} else {
			client = redis.NewClusterClient(&redis.ClusterOptions{Addrs: tt.addresses, StreamingCredentialsProvider: provider})
		}
		b, err := redisbus.New(client, append(tt.opts, make(events, 100).handler())...)
		require.NoError(t, err, name)
		channel := bus.Channel{Name: "channel"}
		got := listen(t, b, channel, bus.Queue)
		requireArrives(t, b, channel, got, name)
		for round := range 3 {
			token := "token" + strconv.Itoa(round+1)
			onAll("acl", "setuser", "app", "resetpass", ">"+token)
			provider.set(token)
			before := b.Stats().Disconnects
			// The bus may reconnect more than once, because it may try another node first.
			onAll("client", "kill", "user", "app")
			deadline := time.Now().Add(waitTimeout)
			for arrived := false; !arrived; {
				// Ignore the error, because Publish fails while the bus reconnects.
				_ = b.Publish(t.Context(), channel, []byte(name+token), nil)
				select {
				case frame := <-got:
					arrived = frame == name+token
				case <-time.After(20 * time.Millisecond):
					require.True(t, time.Now().Before(deadline), "the bus does not connect again")
				}
			}
			assert.Greater(t, b.Stats().Disconnects, before)
		}
		require.NoError(t, b.Close())
		require.NoError(t, client.Close())
		assert.Zero(t, provider.subscriptions(), name)
	}
}

func TestNew_CredentialsProviderFails(t *testing.T) {
	t.Parallel()
	server, provider := testenv.Redis(t), newTokens()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), StreamingCredentialsProvider: provider})
	defer client.Close()
	_, err := redisbus.New(client) // Redis does not know the provider's user
	requireCode(t, errors.Unauthenticated, err)
	require.ErrorContains(t, err, "WRONGPASS")
	assert.Zero(t, provider.subscriptions())

	provider.err = errors.New("no token")
	_, err = redisbus.New(client)
	requireCode(t, errors.Unavailable, err)
	require.ErrorIs(t, err, provider.err)
}

// If a provider fails to renew its token, the bus must log that, and only once. It must continue to
// use the old token.
func TestBus_CredentialsProviderFailsLater(t *testing.T) {
	t.Parallel()
	server, provider := testenv.Redis(t), newTokens()
	admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer admin.Close()
	require.NoError(t, admin.Do(t.Context(), tokenUser...).Err())
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), StreamingCredentialsProvider: provider})
	defer client.Close()
	var log bytes.Buffer
	busEvents := make(events, 10)
	b, err := redisbus.New(client, busEvents.handler(), redisbus.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, err)
	defer b.Close()
	for range 3 {
		provider.tell(func(listener auth.CredentialsListener) { listener.OnError(errors.New("no token")) })
	}
	assert.Equal(t, 1, strings.Count(log.String(), "no token"))
	require.NoError(t, admin.Do(t.Context(), "client", "kill", "user", "app").Err())
	busEvents.next(t, bus.Disconnected)
	busEvents.next(t, bus.Reconnected)
}
