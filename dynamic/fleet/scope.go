package fleet

import (
	"fmt"
	"hash/fnv"
)

// shards is the number of shards into which the servers of a fleet are divided. A large fleet is
// asked shard by shard, so that its answers do not arrive all at once.
const shards = 64

// scopeAll is the scope of all servers. A scope is the topic of a question. It selects the servers
// that are asked.
const scopeAll = "all"

// shardScope returns the scope of the servers of a shard.
func shardScope(shard int) string { return fmt.Sprintf("shard_%02d", shard) }

// shardOf returns the shard of a server.
func shardOf(serverID string) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(serverID)) // A hash returns no errors.
	return int(hash.Sum32() % shards)
}

// serverScope returns the scope of one server.
func serverScope(serverID string) string { return "server_" + serverID }

// serviceScope returns the scope of the servers of a service. wireName is its name on the bus.
func serviceScope(wireName string) string { return "service_" + wireName }
