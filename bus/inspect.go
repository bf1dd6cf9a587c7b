package bus

import (
	"context"
	"iter"
	"time"
)

// Inspector is implemented by buses that can list the channels of the broker and count their
// subscriptions. The results include the subscriptions of psrpc processes, and of processes that no
// longer answer. Inspector is meant for tools that show what is on a bus.
type Inspector interface {
	Bus
	// Count returns the number of subscriptions of each channel, in the order of the arguments. It
	// includes the subscriptions of all programs. It costs the broker little.
	//
	// On Redis, all subscriptions of a connection to a channel count as one. On NATS, all channels
	// that share a subject have the same number, because the server does not know Channel.Key. A
	// bus that knows only whether a channel has subscriptions returns 1 if there are any. If it
	// does not even know that, it returns [Unknown].
	//
	// Count returns the error of ctx if ctx ends first, ErrClosed if the bus is closed, and an
	// error with code permission_denied if the broker does not permit the command.
	Count(ctx context.Context, channels ...Channel) ([]int, error)
	// Scan visits the subscribed channels of all psrpc and dynpsrpc processes, in no particular
	// order. It omits channels whose prefix differs from that of the bus. The more channels there
	// are on the broker, the more work Scan causes there, even if they belong to other programs.
	// Call it when a person asks, not at regular intervals.
	//
	// If Scan fails, the last pair contains the error. Its code is unimplemented if this bus cannot
	// list the broker's channels.
	Scan(ctx context.Context) iter.Seq2[Presence, error]
	// Prefixes returns the sorted prefixes of the channels of psrpc and dynpsrpc processes, at most
	// 1,000 of them. Processes with different prefixes cannot reach each other. An empty string
	// stands for channels without a prefix. The prefix of this bus may end with any character.
	// Another prefix is found only if it ends with a separator such as a dot or a colon, not with a
	// letter, a digit or an underscore. Prefixes costs as much as Scan and returns the same errors.
	Prefixes(ctx context.Context) ([]string, error)
	// Peers returns the connections of the broker that have subscriptions, including those of other
	// programs. The more connections the broker has, the more work Peers causes there. The result
	// is empty if the bus has no broker. The error has code unimplemented if this bus cannot list
	// the broker's connections.
	Peers(ctx context.Context) ([]Peer, error)
}

// MaxPrefixes is the maximum number of prefixes that [Inspector.Prefixes] returns.
const MaxPrefixes = 1000

// The kinds of messages that a channel carries: the values of the field Carries of [Presence].
const (
	// CarriesRequests stands for the requests or updates of a method.
	CarriesRequests = "REQ"
	// CarriesGrants stands for the messages by which clients grant a request to one of the servers
	// that have claimed it. Only methods whose servers claim requests have such a channel.
	CarriesGrants = "RCLAIM"
	// CarriesStreams stands for stream messages, to the servers of a method or to a client.
	CarriesStreams = "STR"
	// CarriesResponses and CarriesClaims stand for the responses and the claims that servers send
	// to one client.
	CarriesResponses = "RES"
	CarriesClaims    = "CLAIM"
	// CarriesCancellations, CarriesDiscovery, CarriesPresence and CarriesUnicast stand for messages
	// that only dynpsrpc processes exchange. Each dynpsrpc server of a service subscribes to the
	// service's cancellations.
	CarriesCancellations = "CANCEL"
	CarriesDiscovery     = "DISCOVER"
	CarriesPresence      = "PRESENCE"
	CarriesUnicast       = "UNICAST"
	// CarriesMarker stands for a Redis channel without messages. dynpsrpc processes subscribe to it
	// while they compete for the requests of a queue, so that each can find out whether psrpc
	// processes compete, too.
	CarriesMarker = "MARKER"
	// CarriesPrivate stands for a NATS subject that is used only by the dynpsrpc servers of one
	// queued method. These processes are also among the receivers of the queue.
	CarriesPrivate = "PRIVATE"
)

// Presence describes a channel that has subscriptions.
type Presence struct {
	// Channel is the name of the channel or the subject, as the broker knows it.
	Channel string
	// Service is the name of the service on the bus, without its proto package.
	Service string
	// Method is the name of the method. It is empty if the channel belongs to no method or if the
	// broker does not know the method. By default, all methods of a service and topic share a
	// subject on NATS.
	Method string
	// Topic holds the parts of the topic. It is nil if there is none.
	Topic []string
	// Carries is one of the constants above. It is empty if the subject carries requests, grants
	// and streams, as most subjects of servers do on NATS.
	Carries string
	// Queue reports whether the channel is a queue, so that each frame goes to only one of its
	// receivers. It is always false on Redis, where the name of a channel does not show this.
	Queue bool
	// ClientID is the ID of the client that subscribes. It is empty for the channels of servers.
	ClientID string
	// Address is the part of a unicast channel's name that identifies the server. It is not the
	// server's ID.
	Address string
	// Receivers is the number of subscriptions, as [Inspector.Count] returns it.
	Receivers int
	// Peers holds the connections that subscribe. It is nil if the broker does not list them, as on
	// Redis.
	Peers []Peer
}

// Peer is a connection to the broker, as the broker knows it.
type Peer struct {
	// Address is the host and port from which the peer has connected.
	Address string
	// Name is the name that the peer has given to its connection. It may be empty.
	Name string
	// Connected is the time since the peer connected. Idle is the time since the broker last
	// received something from the peer or sent something to it.
	Connected, Idle time.Duration
	// PendingBytes is the number of bytes for the peer that the broker has not been able to send
	// yet.
	PendingBytes int64
	// Subscriptions is the number of channels or subjects to which the peer subscribes.
	Subscriptions int
	// Node is the broker's server to which the peer is connected. It is empty if the broker has
	// only one server.
	Node string
}

// Informed is implemented by buses that describe themselves and their broker.
type Informed interface {
	Bus
	// Settings returns the settings of the bus. It never blocks.
	Settings() Settings
	// RoundTrip returns the time that the broker takes to answer a command on the connection of the
	// bus. It costs the broker no more than a PING. It returns 0 if the bus has no broker. It
	// returns the same errors as Info.
	RoundTrip(ctx context.Context) (time.Duration, error)
	// Info returns facts about the bus and its broker. It is meant for tools, because it may open a
	// connection to each of the broker's servers. Facts that the broker does not reveal are zero,
	// and Info.Withheld says why.
	//
	// Info returns the error of ctx if ctx ends first, ErrClosed if the bus is closed, and an error
	// with code unavailable if the broker does not answer.
	Info(ctx context.Context) (Info, error)
}

// Settings contains the settings of a bus that matter to other users of the same broker. It
// contains no password, token or user name.
type Settings struct {
	// Kind is "local", "redis" or "nats".
	Kind string
	// Prefix is the prefix of all channels.
	Prefix string
	// Modes holds the modes that all peers must share: "sharded" or "subject_per_method". On Redis,
	// it also contains "cluster" or "sentinel", unless Redis is a single server.
	Modes []string
	// Database is the number of the Redis database that holds the locks of queues.
	Database int
	// MaxFrameSize is the maximum size of a frame in bytes, or 0 if there is no limit.
	MaxFrameSize int64
}

// Info describes a bus and its broker. It contains no password, token or user name.
type Info struct {
	Settings

	// Software is the name of the broker, "redis", "valkey" or "nats". It is empty if the bus has
	// no broker. Version is its version, for example "7.0.15".
	Software, Version string
	// Address is the host and port of the server to which the bus is connected, or the path of its
	// socket. Nodes holds the addresses of all servers of the broker, if it has more than one.
	Address string
	Nodes   []string
	// RoundTrip is the time that the server has taken to answer the bus.
	RoundTrip time.Duration
	// Role is "master" or "replica" on Redis. Frames that are published on a replica do not reach
	// the subscribers of its master.
	Role string
	// Cluster is the name of the NATS cluster.
	Cluster string
	// OutputBuffer limits the bytes that wait to be sent to a subscriber.
	OutputBuffer OutputBuffer
	// EvictionPolicy is Redis's maxmemory-policy. MaxMemory is its maxmemory in bytes, or 0 for no
	// limit, and UsedMemory is the memory that it uses, in bytes. With a limit and the policy
	// volatile-ttl, Redis evicts the locks of queues first, so requests may run twice.
	EvictionPolicy        string
	MaxMemory, UsedMemory int64
	// UncoveredSlots is the number of slots of a Redis Cluster that no server serves.
	UncoveredSlots int
	// SlowConsumers counts the connections that a NATS server has closed because they read too
	// slowly.
	SlowConsumers int64
	// Connections is the number of connections to the broker, including those of other programs.
	Connections int
	// Withheld contains the reason for each fact that the broker does not reveal.
	Withheld []string
}

// OutputBuffer is the limit of a broker for the bytes that wait to be sent to one subscriber. The
// broker closes the connection of a subscriber that exceeds Hard, or that exceeds Soft for longer
// than SoftTime. Zero means no limit.
type OutputBuffer struct {
	Hard, Soft int64
	SoftTime   time.Duration
}
