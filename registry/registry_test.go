package registry

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestRegistry_Lookups(t *testing.T) {
	t.Parallel()
	r := New()
	b, err := r.Register(simpleFile(t, "b", "my_service").Services().Get(0))
	require.NoError(t, err)
	a, err := r.Register(simpleFile(t, "a.b.c", "Other").Services().Get(0), WithWireName("x.Other"))
	require.NoError(t, err)

	assert.Equal(t, []*Service{a, b}, r.Services(), "sorted by full name")
	got, ok := r.Service("a.b.c.Other")
	assert.True(t, ok)
	assert.Same(t, a, got)
	got, ok = r.ServiceByWireName("MyService")
	assert.True(t, ok)
	assert.Same(t, b, got)
	got, ok = r.ServiceByWireName("x.Other")
	assert.True(t, ok)
	assert.Same(t, a, got)
	for _, name := range []string{"Other", "a.b.c.other", "", "MyService"} {
		_, ok = r.Service(name)
		assert.False(t, ok, name)
	}
	_, ok = r.ServiceByWireName("Other")
	assert.False(t, ok, "has another name")

	want, _ := a.Method("Call")
	for _, name := range []string{"a.b.c.Other/Call", "/a.b.c.Other/Call", "a.b.c.Other.Call"} {
		m, ok := r.Method(name)
		assert.True(t, ok, name)
		assert.Same(t, want, m, name)
	}
	for _, name := range []string{
		"", "/", ".", "Call", "a.b.c.Other", "a.b.c.Other/", "a.b.c.Other/call", "//a.b.c.Other/Call",
		"a.b.c/Other/Call", "x.Other/Call", "a.b.c.Other/Call/",
	} {
		_, ok = r.Method(name)
		assert.False(t, ok, name)
	}
}

func TestRegistry_ZeroValue(t *testing.T) {
	t.Parallel()
	var r Registry
	assert.Empty(t, r.Services())
	assert.False(t, r.Remove("a.A"))
	require.NoError(t, r.RegisterFile(simpleFile(t, "a", "A")))
	assert.Len(t, r.Services(), 1)
}

func TestRegistry_RegisterSameDescriptorAgain(t *testing.T) {
	t.Parallel()
	r := New()
	fd := simpleFile(t, "a", "A")
	first, err := r.Register(fd.Services().Get(0))
	require.NoError(t, err)
	again, err := r.Register(fd.Services().Get(0))
	require.NoError(t, err)
	assert.Same(t, first, again)
	require.NoError(t, r.RegisterFile(fd))

	_, err = r.Register(fd.Services().Get(0), WithWireName("B"))
	require.EqualError(t, err, `service a.A: already registered under the wire name "A": remove it first to register it as "B"`)
	assert.True(t, errors.Is(err, ErrAlreadyRegistered))
}

// A service may be registered again if it is equal, even if its descriptor comes from another
// source.
func TestRegistry_RegisterEqualServiceAgain(t *testing.T) {
	t.Parallel()
	const source = `syntax = "proto3"; package a; import "options.proto"; message M { string some_text = 1; } service A {
		rpc Call(M) returns (M) { option (psrpc.options).type = AFFINITY; option idempotency_level = IDEMPOTENT; } }`
	r := New()
	require.NoError(t, r.RegisterDescriptorSet(set(compiled(t, "dir/a.proto", source)...)))
	first, _ := r.Service("a.A")
	require.NoError(t, r.ParseProto(fstest.MapFS{"a.proto": {Data: []byte("// a comment\n" + source)}}, "a.proto"))
	again, _ := r.Service("a.A")
	assert.Same(t, first, again)
	for old, changed := range map[string]string{
		"AFFINITY": "QUEUE", "= IDEMPOTENT": "= NO_SIDE_EFFECTS", "string": "bytes", " = 1": " = 1 [deprecated = true]",
	} {
		files := fstest.MapFS{"a.proto": {Data: []byte(strings.Replace(source, old, changed, 1))}}
		assert.ErrorIs(t, r.ParseProto(files, "a.proto"), ErrAlreadyRegistered, changed)
	}
}

func TestRegistry_RegisterOtherDescriptorOfThatName(t *testing.T) {
	t.Parallel()
	r := New()
	require.NoError(t, r.RegisterFile(simpleFile(t, "a", "A")))
	other := strings.Replace(simpleText("a", "A"), `"Call"`, `"Other"`, 1)
	err := r.RegisterFile(textFile(t, other, protodesc.FileOptions{}))
	require.EqualError(t, err, "service a.A: already registered with another descriptor: remove it first to replace it")
	assert.True(t, errors.Is(err, ErrAlreadyRegistered))

	require.True(t, r.Remove("a.A"))
	assert.NoError(t, r.RegisterFile(simpleFile(t, "a", "A")))
}

func TestRegistry_WireNameTaken(t *testing.T) {
	t.Parallel()
	r := New()
	require.NoError(t, r.RegisterFile(simpleFile(t, "a", "my_service")))
	other := simpleFile(t, "b", "MyService")
	err := r.RegisterFile(other)
	require.EqualError(t, err, `service b.MyService: wire name taken: service a.my_service is "MyService" on the wire as well: `+
		`register one of them with WithWireName`)
	assert.True(t, errors.Is(err, ErrWireNameTaken))
	_, ok := r.Service("b.MyService")
	assert.False(t, ok)

	require.NoError(t, r.RegisterFile(other, WithWireName("Other")))
	assert.Len(t, r.Services(), 2)
}

func TestRegistry_WireNameTakenWithinOneFile(t *testing.T) {
	t.Parallel()
	r := New()
	err := r.ParseProto(protos("a.proto", header+`
		service my_service { rpc A(Req) returns (Res); } service MyService { rpc A(Req) returns (Res); }`), "a.proto")
	require.ErrorContains(t, err, "service my.pkg.MyService: wire name taken: service my.pkg.my_service is")
	assert.Empty(t, r.Services())
}

func TestRegistry_AllOrNone(t *testing.T) {
	t.Parallel()
	r := New()
	require.NoError(t, r.RegisterFile(simpleFile(t, "a", "Taken")))
	require.NoError(t, r.RegisterFile(simpleFile(t, "b", "Taken2")))
	err := r.ParseProto(protos("a.proto", header+`
		service Free { rpc A(Req) returns (Res); }
		service Taken { rpc A(Req) returns (Res); }
		service Taken2 { rpc A(Req) returns (Res); }`), "a.proto")
	require.ErrorContains(t, err, "service my.pkg.Taken: wire name taken")
	require.ErrorContains(t, err, "service my.pkg.Taken2: wire name taken", "all problems are reported")
	assert.Len(t, r.Services(), 2)
	_, err = r.FindMessageByName("my.pkg.Req")
	assert.Error(t, err)
}

func TestRegistry_RegisterFileBadInput(t *testing.T) {
	t.Parallel()
	r := New()
	require.ErrorIs(t, r.RegisterFile(nil), ErrNoService)
	require.ErrorIs(t, r.RegisterFile(protoreflect.FileDescriptor(nil)), ErrNoService)
	require.ErrorIs(t, r.RegisterFile(textFile(t, `name: "p.proto"`, protodesc.FileOptions{})), ErrNoService)
	unresolved := textFile(t, `name: "p.proto" dependency: "q.proto"`, protodesc.FileOptions{AllowUnresolvable: true})
	err := r.RegisterFile(unresolved.Imports().Get(0).FileDescriptor)
	require.ErrorContains(t, err, "file q.proto is not resolved")

	two := textFile(t, simpleText("p", "A")+` service { name: "B" }`, protodesc.FileOptions{})
	err = r.RegisterFile(two, WithWireName("X"))
	require.ErrorIs(t, err, ErrWireNameTaken)
	assert.Empty(t, r.Services())
}

func TestRegistry_Remove(t *testing.T) {
	t.Parallel()
	r := New()
	require.NoError(t, r.RegisterFile(simpleFile(t, "a", "A")))
	m, ok := r.Method("a.A/Call")
	require.True(t, ok)

	assert.False(t, r.Remove("A"))
	assert.True(t, r.Remove("a.A"))
	assert.False(t, r.Remove("a.A"))
	_, ok = r.Method("a.A/Call")
	assert.False(t, ok)
	_, ok = r.ServiceByWireName("A")
	assert.False(t, ok)
	assert.Equal(t, "a.A/Call", m.FullName(), "a method in use is not affected")
}

// manyServices returns the descriptor of a file that contains n services.
func manyServices(t testing.TB, n int) protoreflect.FileDescriptor {
	t.Helper()
	text := func(s string) *string { return &s }
	file := &descriptorpb.FileDescriptorProto{
		Name: text("many.proto"), Package: text("many"), Syntax: text("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: text("M")}},
	}
	for i := range n {
		file.Service = append(file.Service, &descriptorpb.ServiceDescriptorProto{
			Name: text(fmt.Sprintf("S%d", i)),
			Method: []*descriptorpb.MethodDescriptorProto{
				{Name: text("Call"), InputType: text(".many.M"), OutputType: text(".many.M")},
			},
		})
	}
	fd, err := protodesc.NewFile(file, nil)
	require.NoError(t, err)
	return fd
}

func TestRegistry_ConcurrentUse(t *testing.T) {
	t.Parallel()
	const workers, rounds = 8, 100
	r := New()
	fd := manyServices(t, workers)
	stays := simpleFile(t, "a", "Stays")
	require.NoError(t, r.RegisterFile(stays))
	var group sync.WaitGroup
	for i := range workers {
		sd := fd.Services().Get(i)
		group.Go(func() { // this goroutine ends before the test does
			for range rounds {
				s, err := r.Register(sd)
				require.NoError(t, err)
				got, ok := r.Service(string(sd.FullName()))
				assert.True(t, ok)
				assert.Same(t, s, got)
				_, err = r.FindMessageByName("many.M")
				require.NoError(t, err)
				assert.True(t, r.Remove(sd.FullName()))
			}
		})
		group.Go(func() { // this goroutine ends before the test does
			for range rounds {
				_, ok := r.Method("a.Stays/Call")
				assert.True(t, ok)
				if m, ok := r.Method(string(sd.FullName()) + "/Call"); ok {
					assert.Equal(t, sd, m.Service().Descriptor())
				}
				assert.NotEmpty(t, r.Services())
				_, err := r.FindMessageByName("a.M")
				assert.NoError(t, err)
			}
		})
	}
	group.Wait()
	assert.Len(t, r.Services(), 1)
	assert.Len(t, r.types.refs, 1)
}

func TestRegistry_TenThousandServices(t *testing.T) {
	t.Parallel()
	const n = 10_000
	r := New()
	fd := manyServices(t, n)
	for i := range n {
		_, err := r.Register(fd.Services().Get(i))
		require.NoError(t, err)
	}
	assert.Len(t, r.Services(), n)
	assert.Equal(t, n, r.types.refs[fd])
	declared, _ := r.types.declared.Load(protoreflect.FullName("many.M"))
	assert.Len(t, declared, 1, "a file is indexed once")
	for i := range n {
		require.True(t, r.Remove(fd.Services().Get(i).FullName()))
	}
	assert.Empty(t, r.types.refs)
}

func TestRegistry_LookupsDoNotAllocate(t *testing.T) {
	r := New()
	require.NoError(t, r.RegisterFile(simpleFile(t, "a", "A")))
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = r.Method("a.A/Call")
		_, _ = r.ServiceByWireName("A")
	}))
}

func BenchmarkRegistry_Register(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		fd := manyServices(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				r := New()
				for i := range n {
					_, _ = r.Register(fd.Services().Get(i))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/service")
		})
	}
}

func BenchmarkRegistry_Method(b *testing.B) {
	r := New()
	require.NoError(b, r.RegisterFile(manyServices(b, 100)))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _ = r.Method("many.S42/Call")
		}
	})
}
