package human_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
)

func TestCount(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{
		0: "0", 7: "7", 999: "999", 1000: "1,000", 1204: "1,204", 123456: "123,456", 1234567: "1,234,567",
		math.MaxUint64: "18,446,744,073,709,551,615",
	} {
		assert.Equal(t, want, human.Count(n))
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	for perSecond, want := range map[float64]string{
		0: "0", 0.01: "<0.1", 0.05: "0.1", 3.44: "3.4", 9.94: "9.9", 9.96: "10", 88.4: "88", 1203.6: "1,204",
		-1: "-", math.Inf(-1): "-",
	} {
		assert.Equal(t, want, human.Rate(perSecond), perSecond)
	}
	assert.Equal(t, "-", human.Rate(math.NaN()))
}

func TestPercent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		part, whole uint64
		want        string
	}{
		{0, 0, "-"},
		{0, 10, "0.0 %"},
		{1, 1000, "0.1 %"},
		{1, 10_000, "<0.1 %"},
		{24, 1000, "2.4 %"},
		{9999, 10_000, "100 %"},
		{10, 10, "100 %"},
	} {
		assert.Equal(t, c.want, human.Percent(c.part, c.whole), c)
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 ms", 250: "250 ns", 57 * time.Microsecond: "57µs", 400 * time.Microsecond: "0.4 ms",
		2100 * time.Microsecond: "2.1 ms", 9960 * time.Microsecond: "10 ms", 14 * time.Millisecond: "14 ms",
		999_600 * time.Microsecond: "1.0 s", 3 * time.Second: "3.0 s", 9960 * time.Millisecond: "10 s",
		14 * time.Second: "14 s", 59_400 * time.Millisecond: "59 s", 90 * time.Second: "1m30s",
		-2 * time.Millisecond: "-2.0 ms",
	} {
		assert.Equal(t, want, human.Duration(d), int64(d))
	}
}

func TestOffset(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 ms", 400 * time.Microsecond: "0 ms", -400 * time.Microsecond: "0 ms", time.Millisecond: "+1 ms",
		-3 * time.Millisecond: "-3 ms", 12 * time.Millisecond: "+12 ms", 1800 * time.Millisecond: "+1.8 s",
		-2 * time.Hour: "-2h00m",
	} {
		assert.Equal(t, want, human.Offset(d), int64(d))
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 12 * time.Second: "12s", 59_700 * time.Millisecond: "59s",
		4*time.Minute + 10*time.Second: "4m10s", 3*time.Hour + 7*time.Minute: "3h07m", 52 * time.Hour: "2d04h",
		227 * time.Hour: "9d11h",
	} {
		assert.Equal(t, want, human.Age(d), int64(d))
	}
}

func TestBytes(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{
		0: "0 B", 512: "512 B", 4096: "4.0 KiB", 1<<20 - 1: "1.0 MiB", 12 << 20: "12 MiB", math.MaxUint64: "16 EiB",
	} {
		assert.Equal(t, want, human.Bytes(n), n)
	}
}

func TestPlural(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "1 server", human.Plural(1, "server"))
	assert.Equal(t, "0 servers", human.Plural(0, "server"))
	assert.Equal(t, "1,000 servers", human.Plural(1000, "server"))
}
