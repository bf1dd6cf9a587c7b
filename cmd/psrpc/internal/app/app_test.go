package app_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/contexts"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const config = `
current: dev
contexts:
  dev:
    bus: nats://dev:4222
    monitor: http://dev:8222
    prefix: dev.
    timeout: 7s
    proto: [protos/a.proto]
    import: [/protos]
    redact: [acme.secret]
  prod:
    bus: redis://:${PASS}@prod:6379
    readonly: true
    redact: [acme.secret]
    metadata: {authorization: "${PASS}"}
`

// newApp returns an App with the contexts dev and prod and the given environment variables. stdout
// and stderr receive what it prints.
func newApp(t *testing.T, env map[string]string) (a *app.App, stdout, stderr *bytes.Buffer) {
	t.Helper()
	directory := filepath.Join(t.TempDir(), "psrpc")
	require.NoError(t, os.Mkdir(directory, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(directory, "config.yaml"), []byte(config), 0o600))
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	a = app.New()
	a.Out, a.Err = stdout, stderr
	a.Env = func(name string) string {
		if name == "XDG_CONFIG_HOME" {
			return filepath.Dir(directory)
		}
		return env[name]
	}
	return a, stdout, stderr
}

func TestSettings_FlagsBeforeEnvironmentBeforeContext(t *testing.T) {
	t.Parallel()
	secret := map[string]string{"PASS": "pa55"}
	for name, test := range map[string]struct {
		env          map[string]string
		flags        app.Flags
		bus, monitor string
	}{
		"current context":         {nil, app.Flags{}, "nats://dev:4222", "http://dev:8222"},
		"environment":             {map[string]string{"PSRPC_BUS": "nats://env"}, app.Flags{}, "nats://env", ""},
		"flag before environment": {map[string]string{"PSRPC_BUS": "nats://env"}, app.Flags{Bus: "nats://flag"}, "nats://flag", ""},
		"context in environment":  {map[string]string{"PSRPC_CONTEXT": "prod", "PASS": "pa55"}, app.Flags{}, "redis://:pa55@prod:6379", ""},
		"context in flag":         {map[string]string{"PSRPC_BUS": "nats://env", "PASS": "pa55"}, app.Flags{Context: "prod"}, "redis://:pa55@prod:6379", ""},
		"flag before context":     {secret, app.Flags{Context: "prod", Bus: "nats://flag"}, "nats://flag", ""},
	} {
		a, _, _ := newApp(t, test.env)
		a.Flags = test.flags
		settings, err := a.Settings()
		require.NoError(t, err, name)
		assert.Equal(t, test.bus, settings.Bus, name)
		assert.Equal(t, test.monitor, settings.Monitor, name)
	}

	a, _, _ := newApp(t, nil)
	settings, err := a.Settings()
	require.NoError(t, err)
	assert.Equal(t, 7*time.Second, settings.Timeout)
	assert.Equal(t, []string{filepath.Join(filepath.Dir(a.ConfigFile()), "protos", "a.proto")}, settings.Proto)
	assert.Equal(t, []string{"/protos"}, settings.Import)

	a, _, _ = newApp(t, nil)
	a.Flags.Context = "prod"
	_, err = a.Settings()
	assert.ErrorContains(t, err, "PASS is not set")
}

// If another bus is selected, the settings of the context must not apply to it. In particular, the
// metadata may contain secrets, which must not be sent to another bus.
func TestSettings_BusTakesOnlyRedactFromTheContext(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		env   map[string]string
		flags app.Flags
	}{
		"flag":                 {map[string]string{"PSRPC_CONTEXT": "prod"}, app.Flags{Bus: "nats://other"}},
		"flag beside flag":     {nil, app.Flags{Context: "prod", Bus: "nats://other"}},
		"same bus":             {map[string]string{"PSRPC_CONTEXT": "dev"}, app.Flags{Bus: "nats://dev:4222"}},
		"environment":          {map[string]string{"PSRPC_CONTEXT": "prod", "PSRPC_BUS": "nats://other"}, app.Flags{}},
		"flags are still used": {map[string]string{"PSRPC_CONTEXT": "prod"}, app.Flags{Bus: "nats://other", Prefix: "own.", Timeout: time.Second}},
	} {
		a, _, _ := newApp(t, test.env)
		a.Flags = test.flags
		settings, err := a.Settings() // PASS is not set, so this fails if the secrets of prod are read
		require.NoError(t, err, name)
		want := contexts.Context{Bus: settings.Bus, Prefix: test.flags.Prefix, Timeout: app.DefaultTimeout, Redact: []string{"acme.secret"}}
		if test.flags.Timeout > 0 {
			want.Timeout = test.flags.Timeout
		}
		assert.Equal(t, &want, settings, name)
	}

	a, _, stderr := newApp(t, nil)
	a.Flags = app.Flags{Context: "prod", Bus: "nats://other"}
	_, err := a.Settings()
	require.NoError(t, err)
	assert.Contains(t, stderr.String(), "nothing of --context prod")

	a, _, _ = newApp(t, nil)
	a.Flags = app.Flags{Context: "missing", Bus: "nats://other"}
	_, err = a.Settings()
	assert.Equal(t, app.ExitUsage, app.CodeOf(err))
}

func TestSettings_DefaultIsTheBusOfUp(t *testing.T) {
	t.Parallel()
	a := app.New()
	home := t.TempDir()
	a.Env = func(name string) string { return map[string]string{"HOME": home}[name] }
	settings, err := a.Settings()
	require.NoError(t, err)
	assert.Equal(t, app.DefaultBus, settings.Bus)
	assert.Equal(t, app.DefaultMonitor, settings.Monitor)
	assert.Equal(t, app.DefaultTimeout, settings.Timeout)
}

func TestSettings_WarnsAboutAPasswordInAFlag(t *testing.T) {
	t.Parallel()
	a, _, stderr := newApp(t, nil)
	a.Flags.Bus = "redis://ada:pa55@host"
	for range 2 {
		_, err := a.Settings()
		require.NoError(t, err)
	}
	assert.Equal(t, 1, bytes.Count(stderr.Bytes(), []byte("password")))
	assert.NotContains(t, stderr.String(), "pa55")
}

func TestCodeOf(t *testing.T) {
	t.Parallel()
	facts := func(reason errors.Reason) error {
		return errors.WithFacts(errors.NewErrorf(errors.Unavailable, "failed"), errors.CallFacts{Reason: reason})
	}
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{fmt.Errorf("failed"), app.ExitFailed},
		{app.Usagef("wrong"), app.ExitUsage},
		{app.Hint(app.Usagef("wrong"), "do this"), app.ExitUsage},
		{fmt.Errorf("wrapped: %w", app.Nobodyf("nobody")), app.ExitNobody},
		{app.RPC(facts(errors.ReasonNobodyListening)), app.ExitNobody},
		{app.RPC(facts(errors.ReasonBusDown)), app.ExitUnreachable},
		{app.RPC(facts(errors.ReasonAllDeclined)), 78},
		{app.RPC(errors.NewErrorf(errors.NotFound, "none")), 69},
		{app.RPC(errors.NewErrorf("own_code", "own")), 66},
		{app.Answered(errors.NewErrorf(errors.DeadlineExceeded, "late"), "SRV_1", time.Second), 68},
		{app.RPC(nil), 0},
		{context.Canceled, app.ExitInterrupted},
	} {
		assert.Equal(t, test.want, app.CodeOf(test.err), "%v", test.err)
	}
}

func TestReport_PrintsNothingForAnInterruptedRun(t *testing.T) {
	t.Parallel()
	a, stdout, stderr := newApp(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Equal(t, app.ExitInterrupted, a.Report(ctx, fmt.Errorf("failed")))
	assert.Equal(t, 0, a.Report(ctx, nil))
	assert.Empty(t, stdout.String()+stderr.String())
}

func TestTable_AlignsColumns(t *testing.T) {
	t.Parallel()
	a, stdout, _ := newApp(t, nil)
	rows := [][]string{{"a", "57µs", ""}, {"long name", "1", "x\x1b[2Jy\nz"}}
	require.NoError(t, a.Table([]string{"NAME", "TIME", "TEXT"}, rows))
	assert.Equal(t, "NAME       TIME  TEXT\na          57µs\nlong name  1     x[2Jy z\n", stdout.String())

	stdout.Reset()
	a.Flags.Color = "always"
	require.NoError(t, a.Table([]string{"NAME", "STATE"}, [][]string{{"a", a.Styled(app.StyleRed, "down")}, {"b", "up"}}))
	assert.Equal(t, "\x1b[1mNAME\x1b[0m  \x1b[1mSTATE\x1b[0m\na     \x1b[31mdown\x1b[0m\nb     up\n", stdout.String())

	stdout.Reset()
	a.Flags.Output = "name"
	require.NoError(t, a.Table([]string{"NAME", "STATE"}, [][]string{{"a", "down"}, {"b", "up"}}))
	assert.Equal(t, "a\nb\n", stdout.String())
}

// Without a home directory, an app must have no configuration file and no cache, rather than use
// the current directory.
func TestSettings_WithoutHome(t *testing.T) {
	t.Parallel()
	a := app.New()
	a.Env = func(string) string { return "" }
	if runtime.GOOS != "windows" {
		assert.Empty(t, a.ConfigFile()+a.CacheDir())
	}
	_, err := a.Settings()
	assert.NoError(t, err)
}

func TestReport_NamesTheServerThatFailed(t *testing.T) {
	t.Parallel()
	a, _, stderr := newApp(t, nil)
	a.Flags.Output = "json"
	failed := errors.WithFacts(errors.NewErrorf(errors.NotFound, "none"), errors.CallFacts{Method: "M"})
	a.Report(t.Context(), app.Answered(failed, "SRV_1", time.Second))
	assert.Contains(t, stderr.String(), `"server":"SRV_1"`)
	assert.Contains(t, stderr.String(), `"took":"1.0 s"`)
}

// Text from peers may contain characters that control a terminal. They must be escaped.
func TestMessageJSON_EscapesControlCharacters(t *testing.T) {
	t.Parallel()
	a, stdout, _ := newApp(t, nil)
	const text = "a\x1b[2J\u009b2J\x7fé\n"
	encoded, err := a.MessageJSON(wrapperspb.String(text), false)
	require.NoError(t, err)
	assert.Equal(t, `"a\u001b[2J\u009b2J\u007fé\n"`, string(encoded))
	require.NoError(t, a.JSON(text))
	assert.Equal(t, `"a\u001b[2J\u009b2J\u007fé\n"`+"\n", stdout.String())
	assert.Equal(t, "a[2J2Jé\n", app.Printable(text))
	assert.Equal(t, "a[2J2Jé ", app.OneLine(text))
	assert.Equal(t, "[8mhidden", app.Printable("\x1b[8mhidden"))
}
