package redisbus_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
)

// The program already has a client. It must close the bus first and then the client.
func ExampleNew() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer client.Close()

	b, err := redisbus.New(client,
		redisbus.WithProbeInterval(time.Second),
		redisbus.WithEventHandler(func(event bus.Event) {
			log.Println("redis bus:", event.Kind, event.Err)
		}),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	fmt.Println("connected:", b.Stats().Connected)
}

// With sharded pub/sub, each node of a Redis Cluster delivers only the channels of its shard. All
// peers must use the same setting.
func ExampleNew_cluster() {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"redis-1:6379", "redis-2:6379"}})
	defer client.Close()

	b, err := redisbus.New(client, redisbus.WithShardedPubSub())
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
}

// The program reads the URL of the bus from its configuration. A blank import of the package is
// enough to register the URL schemes.
func Example_open() {
	url := "redis://user:password@localhost:6379/0?prefix=staging:"
	// A URL for Sentinel:
	//	redis-sentinel://sentinel-1:26379,sentinel-2:26379/0?master_name=mymaster
	// A URL for a Redis Cluster that uses TLS:
	//	rediss-cluster://user:password@redis-1:6379,redis-2:6379?sharded=true

	b, err := bus.Open(context.Background(), url)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	channel := bus.Channel{Name: "greetings"}
	subscription, err := b.Subscribe(context.Background(), channel, bus.Broadcast, func(frame []byte) {
		fmt.Printf("%s\n", frame)
	})
	if err != nil {
		log.Fatal(err)
	}
	defer subscription.Close()

	if err := b.Publish(context.Background(), channel, []byte("hello"), nil); err != nil {
		log.Print(err)
	}
}
