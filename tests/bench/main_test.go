package main

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

func TestMain(m *testing.M) {
	growthCounts = []int{1, 10, 100}                      // registering thousands takes seconds
	growthServers, growthSubscribers = []int{1}, []int{1} // other benchmarks have three servers
	// The timeouts are long, because on a busy machine everything may take several seconds longer.
	connOptions = []dynamic.ConnOption{dynamic.WithSelectionTimeout(time.Minute), dynamic.WithClientTimeout(time.Minute)}
	psrpcOptions = []psrpc.ClientOption{psrpc.WithClientSelectTimeout(time.Minute), psrpc.WithClientTimeout(time.Minute)}
	settled, subscribing = 3*time.Second, 3*time.Second
	goleak.VerifyTestMain(m)
}

// Every benchmark must run for a short time without errors. It must also be possible to save the
// results, to read them again, and to turn them into a table and plots.
func TestRun_EveryRow(t *testing.T) {
	t.Parallel()
	rows := allRows(false)
	s := &settings{rounds: 1, perRow: 4 * time.Millisecond}
	all, err := s.results(rows)
	require.NoError(t, err)
	for _, r := range all.Rows {
		assert.Empty(t, r.Errors, r.row.key())
		require.Len(t, r.Rounds, 1)
		assert.Positive(t, r.Median.PerSecond, r.row.key())
		assert.Len(t, r.Ratios, len(r.row.limits), r.row.key())
	}

	file := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, all.write(file))
	read, err := readResults(file)
	require.NoError(t, err)
	assert.Equal(t, all.markdown(), read.markdown())
	require.NoError(t, read.plot(t.TempDir()))
}

// With rivals enabled, a benchmark of dynpsrpc must be compared with the same benchmark of psrpc.
func TestRun_Rival(t *testing.T) {
	t.Parallel()
	s := &settings{rounds: 1, perRow: 4 * time.Millisecond, rows: "nats/64B/queue/c1$", rivals: true}
	rows, err := s.choose(allRows(true))
	require.NoError(t, err)
	all, err := s.results(rows)
	require.NoError(t, err)
	require.Len(t, all.Rows, 2)
	ours, rival := all.Rows[0], all.Rows[1]
	assert.Equal(t, onPSRPC, rival.System)
	assert.Empty(t, rival.Errors)
	require.Len(t, ours.Ratios, 1)
	assert.Equal(t, rival.Name, ours.Ratios[0].To)
	assert.Contains(t, all.markdown(), " of psrpc/queue/c1 |")
}

func TestAllRows_Names(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, r := range allRows(true) {
		assert.False(t, known[r.key()], r.key())
		known[r.key()] = true
	}
	for _, r := range allRows(true) {
		for _, limit := range r.limits {
			assert.True(t, known[r.keyOf(limit)], "%s is compared to %s", r.key(), limit)
		}
	}
}

func TestSettings_ChooseWithLimits(t *testing.T) {
	t.Parallel()
	keys := func(s settings) (keys []string) {
		rows, err := s.choose(allRows(s.rivals))
		require.NoError(t, err)
		for _, r := range rows {
			keys = append(keys, r.key())
		}
		return keys
	}
	assert.Equal(t, []string{"nats/64B/queue/c1"}, keys(settings{rows: "/queue/c1", buses: "nats", sizes: "64B"}))
	assert.Equal(t, []string{"redis/16KiB/redis-pingpong-batched/c64", "redis/16KiB/queue/c64"},
		keys(settings{rows: "redis/16KiB/queue/c64", limits: true}))
	assert.Equal(t, []string{"local/64B/psrpc/queue/c1", "local/64B/queue/c1"},
		slices.Sorted(slices.Values(keys(settings{rows: "local/64B/.*queue/c1", rivals: true}))))
	for _, wrong := range []settings{{rows: "no such row"}, {buses: "("}} {
		_, err := wrong.choose(allRows(false))
		assert.Error(t, err)
	}
}

// Operations that receive a wrong response must be counted as failed, not as completed, and measure
// must return their error.
func TestMeasure_CountsWhatWasCompleted(t *testing.T) {
	t.Parallel()
	calls := 0
	m, err := measure(callers([]func() error{func() error {
		if calls++; calls%2 == 1 { // the first call fails, because there may be no other
			return errWrongAnswer
		}
		return nil
	}}), time.Millisecond)
	require.ErrorIs(t, err, errWrongAnswer)
	assert.InDelta(t, m.Operations, m.Failed, 1)
	assert.InDelta(t, calls, m.Operations+m.Failed, 0)
}

func TestFeed_CountsLostUpdates(t *testing.T) {
	t.Parallel()
	for _, window := range []int{0, 64} {
		f := newFeed(1, window)
		subscriber := f.subscriber()
		published := 0
		f.publish = func() error {
			// A feed publishes a multiple of 16 updates.
			if published++; published%8 != 0 {
				subscriber.got(true)
			}
			return nil
		}
		m, err := measure(f.run, time.Millisecond)
		require.NoError(t, err)
		assert.InDelta(t, 12.5, m.Lost, 1)
	}
	f := newFeed(1, 0)
	twice := f.subscriber()
	f.publish = func() error {
		twice.got(true)
		twice.got(true)
		return nil
	}
	_, err := measure(f.run, time.Millisecond)
	assert.ErrorIs(t, err, errWrongAnswer, "an update that comes twice")
}

func TestHistogram_Quantiles(t *testing.T) {
	t.Parallel()
	var h, other histogram
	var exact []time.Duration
	for i := range 10_000 {
		d := time.Duration(rand.Int64N(1 << (1 + i%40)))
		exact = append(exact, d)
		if i%2 == 0 {
			h.add(d)
		} else {
			other.add(d)
		}
	}
	h.merge(&other)
	slices.Sort(exact)
	for _, q := range []float64{0, 0.5, 0.99, 0.9999} {
		want := float64(exact[int(q*float64(len(exact)))])
		assert.InDelta(t, want, float64(h.quantile(q)), want/64+1, q)
	}
	assert.Zero(t, new(histogram).quantile(0.5))
	h.add(1<<63 - 1)
	assert.Positive(t, h.quantile(0.99999))
}

func TestMedian(t *testing.T) {
	t.Parallel()
	assert.Zero(t, median(nil))
	assert.InDelta(t, 2, median([]float64{3, 1, 2}), 0)
	assert.InDelta(t, 2.5, median([]float64{4, 1, 2, 3}), 0)
	m := medians([]measurement{{P50: 3, Lost: 1}, {P50: 1, Lost: 2}, {P50: 2, Lost: 9}})
	assert.Equal(t, measurement{P50: 2, Lost: 2}, m)
}

// The callers of each benchmark that psrpc bench can run, too, must find their servers in another
// process. Here, both are in this one.
func TestDrive_EveryToolRow(t *testing.T) {
	t.Parallel()
	for _, r := range toolRows() {
		err := onStage(func(stage *stage) {
			brokers := startBrokers(stage, []*row{&r.row})
			r.serve(&scene{stage: stage, brokers: brokers, row: &r.row})
			client := r.row
			client.clientOnly = true
			m, err := measureRow(&client, brokers, 4*time.Millisecond, profiles{})
			stage.check(err)
			assert.Positive(t, m.PerSecond, r.key())
		})
		require.NoError(t, err, r.key())
	}
}

func TestComparison_AgreesWithin10Percent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate, latency float64
		agrees        bool
	}{{1.09, 0.91, true}, {0.89, 1, false}, {1, 1.11, false}} {
		compared := comparison{rateRatio: c.rate, latencyRatio: c.latency}
		assert.Equal(t, c.agrees, compared.agrees())
	}
}
