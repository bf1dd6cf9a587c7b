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

// patience is for what takes less than a second unless something is wrong.
const patience = time.Minute

// show is a host, and what it is told to do.
type show struct {
	host         *plugin.Host
	closeLoaders func() error
	root         string // the directory that the host watches
	out          io.Writer
	events       chan plugin.Event
	stopWatching context.CancelFunc
	watched      chan error
}

// newShow begins to watch root.
func newShow(srv *dynamic.Server, url, root string, out io.Writer) (*show, error) {
	if err := os.MkdirAll(root, 0o750); err != nil {
		return nil, err
	}
	s := &show{root: root, out: out, events: make(chan plugin.Event, 64), watched: make(chan error, 1)}
	var err error
	if s.host, s.closeLoaders, err = newHost(srv, url, func(e plugin.Event) { s.events <- e }); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stopWatching = stop
	go func() { s.watched <- s.host.Watch(ctx, root) }() // close waits for it
	return s, nil
}

// close ends the host and what it runs.
func (s *show) close() error {
	s.stopWatching()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(<-s.watched, s.host.Shutdown(ctx), s.closeLoaders())
}

// play loads, replaces and unloads each plugin. The folder has the versions.
func (s *show) play(ctx context.Context, b bus.Bus, folder string) error {
	reg := registry.New() // as any client has it, from the .proto sources
	if err := reg.ParseProto(os.DirFS(filepath.Join(folder, "1", kinds[0].name)), greetings.FileName); err != nil {
		return err
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // it always returns nil
	for _, k := range kinds {
		c := &caller{conn: conn, method: k.service + "/Greet"}
		if err := s.load(ctx, k, c, folder); err != nil {
			return err
		}
		if err := s.replace(ctx, k, c, folder); err != nil {
			return err
		}
		if err := s.unload(ctx, k, c); err != nil {
			return err
		}
	}
	return nil
}

func (s *show) load(ctx context.Context, k kind, c *caller, folder string) error {
	if err := os.Rename(filepath.Join(folder, "1", k.name), filepath.Join(s.root, k.name)); err != nil {
		return err
	}
	if err := s.await(ctx, plugin.Loaded); err != nil {
		return err
	}
	answer, err := c.call(ctx)
	_, _ = fmt.Fprintf(s.out, "%s: loaded, answered %q\n", k.name, answer)
	return err
}

// replace puts the second version in the place of the first while a caller goes on.
func (s *show) replace(ctx context.Context, k kind, c *caller, folder string) error {
	calling, stop := context.WithCancel(ctx)
	defer stop()
	called := make(chan error, 1)
	go func() { called <- c.callUntil(calling.Done(), ctx) }() // waited for below
	place := filepath.Join(s.root, k.name)
	err := errors.Join(
		os.Rename(place, filepath.Join(folder, k.name)),
		os.Rename(filepath.Join(folder, "2", k.name), place),
	)
	if err == nil {
		err = s.await(ctx, plugin.Replaced)
	}
	stop()
	if err := errors.Join(err, <-called); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(s.out, "%s: replaced while it was called: no call failed, the first was answered by version %s, the last by version %s\n",
		k.name, c.first, c.last)
	return nil
}

func (s *show) unload(ctx context.Context, k kind, c *caller) error {
	if err := os.RemoveAll(filepath.Join(s.root, k.name)); err != nil {
		return err
	}
	if err := s.await(ctx, plugin.Unloaded); err != nil {
		return err
	}
	_, err := c.call(ctx)
	coded, ok := errors.AsType[errors.Error](err)
	if !ok {
		return fmt.Errorf("a call of a plugin that was unloaded: %w", err)
	}
	_, _ = fmt.Fprintf(s.out, "%s: unloaded, a call fails with code %s\n", k.name, coded.Code())
	return nil
}

// await waits for an event. A failure of any plugin ends the show.
func (s *show) await(ctx context.Context, kind plugin.EventKind) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		select {
		case e := <-s.events:
			if e.Err != nil {
				return fmt.Errorf("plugin %s in %s %s: %w", e.Plugin, e.Folder, e.Kind, e.Err)
			}
			if e.Kind == kind {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("waiting until a plugin is %s: %w", kind, ctx.Err())
		}
	}
}

// caller calls one method by its name.
type caller struct {
	conn        *dynamic.Conn
	method      string
	first, last string // versions that answered
}

func (c *caller) call(ctx context.Context) (answer string, err error) {
	response, err := dynamic.Invoke(ctx, c.conn, c.method, json.RawMessage(`"Ada"`))
	if err != nil {
		return "", err
	}
	return response.(*wrapperspb.StringValue).GetValue(), nil
}

// callUntil calls until done is closed and version 2 has answered.
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
