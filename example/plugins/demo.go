package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/plugins/greetings"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// eventTimeout is the maximum time to wait for an event from the host. An event usually takes less
// than a second.
const eventTimeout = time.Minute

// demo runs a host and changes the plugins in the directory that the host watches.
type demo struct {
	host         *plugin.Host
	closeLoaders func() error
	// root is the directory that the host watches.
	root         string
	out          io.Writer
	events       chan plugin.Event
	stopWatching context.CancelFunc
	watched      chan error
}

// newDemo creates the directory root and starts a host that watches it.
func newDemo(srv *dynamic.Server, url, root string, out io.Writer) (*demo, error) {
	if err := os.MkdirAll(root, 0o750); err != nil {
		return nil, err
	}
	d := &demo{root: root, out: out, events: make(chan plugin.Event, 64), watched: make(chan error, 1)}
	var err error
	if d.host, d.closeLoaders, err = newHost(srv, url, func(e plugin.Event) { d.events <- e }); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stopWatching = stop
	// The method close receives the result of Watch.
	go func() { d.watched <- d.host.Watch(ctx, root) }()
	return d, nil
}

// close stops watching the directory, shuts down the host and closes the loaders.
func (d *demo) close() error {
	d.stopWatching()
	ctx, cancel := context.WithTimeout(context.Background(), eventTimeout)
	defer cancel()
	return errors.Join(<-d.watched, d.host.Shutdown(ctx), d.closeLoaders())
}

// run loads, replaces and unloads each plugin. folder contains the built versions.
func (d *demo) run(ctx context.Context, b bus.Bus, folder string) error {
	// The client gets the schema from the .proto source, as any other client would.
	reg := registry.New()
	if err := reg.ParseProto(os.DirFS(filepath.Join(folder, "1", kinds[0].name)), greetings.FileName); err != nil {
		return err
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		return err
	}
	// The error can be ignored, because the conn is closed in any case.
	defer func() { _ = conn.Close() }()
	for _, k := range kinds {
		c := &caller{conn: conn, method: k.service + "/Greet"}
		if err := d.load(ctx, k, c, folder); err != nil {
			return err
		}
		if err := d.replace(ctx, k, c, folder); err != nil {
			return err
		}
		if err := d.unload(ctx, k, c); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) load(ctx context.Context, k kind, c *caller, folder string) error {
	if err := os.Rename(filepath.Join(folder, "1", k.name), filepath.Join(d.root, k.name)); err != nil {
		return err
	}
	if err := d.await(ctx, plugin.Loaded); err != nil {
		return err
	}
	answer, err := c.call(ctx)
	_, _ = fmt.Fprintf(d.out, "%s: loaded, answered %q\n", k.name, answer)
	return err
}

// replace replaces the first version of a plugin with the second while a client keeps making calls.
func (d *demo) replace(ctx context.Context, k kind, c *caller, folder string) error {
	calling, stop := context.WithCancel(ctx)
	defer stop()
	called := make(chan error, 1)
	go func() { called <- c.callUntil(calling.Done(), ctx) }()
	installed := filepath.Join(d.root, k.name)
	err := errors.Join(
		os.Rename(installed, filepath.Join(folder, k.name)),
		os.Rename(filepath.Join(folder, "2", k.name), installed),
	)
	if err == nil {
		err = d.await(ctx, plugin.Replaced)
	}
	stop()
	if err := errors.Join(err, <-called); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(d.out, "%s: replaced during calls: no call failed, version %s answered first and version %s last\n",
		k.name, c.first, c.last)
	return nil
}

func (d *demo) unload(ctx context.Context, k kind, c *caller) error {
	if err := os.RemoveAll(filepath.Join(d.root, k.name)); err != nil {
		return err
	}
	if err := d.await(ctx, plugin.Unloaded); err != nil {
		return err
	}
	_, err := c.call(ctx)
	coded, ok := errors.AsType[errors.Error](err)
	if !ok {
		return fmt.Errorf("call after the plugin was unloaded: want an error with a code, got %w", err)
	}
	_, _ = fmt.Fprintf(d.out, "%s: unloaded, a call fails with code %s\n", k.name, coded.Code())
	return nil
}

// await waits for an event of the given kind. It returns an error if the host reports an error for
// any plugin.
func (d *demo) await(ctx context.Context, kind plugin.EventKind) error {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	for {
		select {
		case e := <-d.events:
			if e.Err != nil {
				return fmt.Errorf("plugin %s in %s %s: %w", e.Plugin, e.Folder, e.Kind, e.Err)
			}
			if e.Kind == kind {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("plugin was not %s in time: %w", kind, ctx.Err())
		}
	}
}

// caller calls a method of a plugin and records which versions of the plugin answer.
type caller struct {
	conn   *dynamic.Conn
	method string
	// first and last are the versions that answered the first and the last call.
	first, last string
}

func (c *caller) call(ctx context.Context) (answer string, err error) {
	response, err := dynamic.Invoke(ctx, c.conn, c.method, json.RawMessage(`"Ada"`))
	if err != nil {
		return "", err
	}
	return response.(*wrapperspb.StringValue).GetValue(), nil
}

// callUntil makes calls until done is closed and the version that answers is no longer the one that
// answered the first call.
func (c *caller) callUntil(done <-chan struct{}, ctx context.Context) error {
	for {
		answer, err := c.call(ctx)
		if err != nil {
			return err
		}
		c.last, _, _ = strings.Cut(strings.TrimPrefix(answer, "version "), ",")
		if c.first == "" {
			c.first = c.last
		}
		select {
		case <-done:
			if c.last != c.first {
				return nil
			}
		default:
		}
	}
}
