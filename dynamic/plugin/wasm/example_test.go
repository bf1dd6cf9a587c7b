package wasm_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// This example builds a plugin from Go source, loads its folder into a server and calls it. The
// plugin is testdata/echoguest, which returns each request.
func ExampleNewLoader() {
	if err := run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: hello
}

func run(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "echo-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if err := buildPlugin(ctx, folder); err != nil {
		return err
	}

	b := bus.NewLocal()
	defer b.Close()
	server := dynamic.NewServer(b)
	defer server.Kill()
	loader, err := wasm.NewLoader(wasm.WithCacheDir(os.Getenv("WASM_TEST_CACHE")))
	if err != nil {
		return err
	}
	defer loader.Close()
	host, err := plugin.NewHost(server, plugin.WithLoaders(loader))
	if err != nil {
		return err
	}
	defer host.Shutdown(ctx)
	if err := host.Load(ctx, folder); err != nil {
		return err
	}

	reg := registry.New()
	if err := reg.ParseProto(os.DirFS(folder), "echo.proto"); err != nil {
		return err
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		return err
	}
	defer conn.Close()
	response, err := dynamic.Invoke(ctx, conn, "test.Bytes/Echo", wrapperspb.String("hello"))
	if err != nil {
		return err
	}
	fmt.Println(response.(*wrapperspb.StringValue).GetValue())
	return nil
}

// buildPlugin fills the folder of a plugin: its code, its descriptors and its manifest.
func buildPlugin(ctx context.Context, folder string) error {
	build := exec.CommandContext(ctx, "go", "build", "-race=false", "-buildmode=c-shared", "-ldflags=-s -w",
		"-o", filepath.Join(folder, "echo.wasm"), "./testdata/echoguest")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	for name, content := range map[string]string{
		"echo.proto": `
			syntax = "proto3";
			package test;
			import "google/protobuf/wrappers.proto";
			service Bytes { rpc Echo(google.protobuf.StringValue) returns (google.protobuf.StringValue); }`,
		plugin.ManifestName: `{
			"name": "echo",
			"version": "1",
			"loader": "wasm",
			"code": "echo.wasm",
			"descriptors": "echo.proto",
			"limits": {"timeout": "10s", "memory": 33554432, "instances": 2}
		}`,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}
