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

// A bus over a client that the program has already. The client is closed after the bus.
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

// With sharded pub/sub, a Cluster carries each channel on one of its shards. All peers must use it.
func ExampleNew_cluster() {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"redis-1:6379", "redis-2:6379"}})
	defer client.Close()

	b, err := redisbus.New(client, redisbus.WithShardedPubSub())
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
}

// A bus from a URL, as a program reads it from its configuration. A blank import of the package is
// enough to register the schemes.
func Example_open() {
	url := "redis://user:password@localhost:6379/0?prefix=staging:"
	// With Sentinel:
	//	redis-sentinel://sentinel-1:26379,sentinel-2:26379/0?master_name=mymaster
	// With Cluster, over TLS:
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
