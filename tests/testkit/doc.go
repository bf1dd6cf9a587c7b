// Package testkit sets up networks, servers and clients for tests of whole systems. A test that
// needs only one server in process can use package dynamictest instead, and package testkit/kinds,
// whose service has validation rules.
//
// This is a complete test. It runs in process, on Redis and on NATS:
//
//	func TestEcho(t *testing.T) {
//		t.Parallel()
//		testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
//			fleet := testkit.NewFleet(t, network, testkit.Servers(3))
//			response, err := fleet.Caller("NormalRPC").Call(t.Context(), &api.MyRequest{Name: "Ann"})
//			require.NoError(t, err)
//			assert.Equal(t, "Ann", response.GetText())
//		})
//	}
//
// # Networks
//
// A [Network] connects the peers of one test. [OnEach] and [OnBrokers] run a test on every kind of
// network, in parallel subtests. [OnLocal], [OnRedis] and [OnNATS] return one network each. A test
// that needs its own broker, proxy or options can start the broker with package testenv. [Redis],
// [RedisOver], [NATS] and [NATSOver] return a bus that uses this broker.
//
// Each network has a broker of its own. If tests shared a broker, they would reach each other's
// servers.
//
// # Servers and clients
//
// All tests use the service MyService of package api, which has a method of every kind. [NewFleet]
// starts servers and a conn, each on a bus of its own. By default, the servers send back what they
// receive. [Fleet.Join], [Fleet.Leave] and [Fleet.Dial] change the fleet.
//
// For other arrangements, such as peers that share a bus, [Serve] starts one server and [Conn]
// returns a conn. [Caller], [Subscriber] and [Streamer] return clients of a conn. [Echo],
// [EchoStream] and [Echoes] are handlers.
//
// # Waiting
//
// [Soon] waits for a value on a channel, and [Eventually] for a condition. [Code] returns the code
// of an error. [Quiet] turns off the log of a test program that breaks connections on purpose.
//
// A helper that encounters an error fails the test. When the test ends, its clients and servers are
// closed first, then their buses, and finally the broker.
package testkit
