package human

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// None stands for a value that is not known or does not apply.
const None = "-"

// Count formats a number with commas between thousands: "1,204". It must not be negative.
func Count[N ~int | ~uint32 | ~uint64](n N) string {
	digits := strconv.FormatUint(uint64(n), 10)
	var text strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			text.WriteByte(',')
		}
		text.WriteRune(digit)
	}
	return text.String()
}

// Rate formats how often something happens per second: "1,204", "3.4", "<0.1" or "0".
func Rate(perSecond float64) string {
	switch rounded := math.Round(perSecond*10) / 10; {
	case math.IsNaN(perSecond) || perSecond < 0:
		return None
	case perSecond == 0:
		return "0"
	case rounded < 0.1:
		return "<0.1"
	case rounded < 10:
		return strconv.FormatFloat(rounded, 'f', 1, 64)
	default:
		return Count(uint64(math.Round(perSecond)))
	}
}

// Percent formats a part of a whole: "2.4 %", "<0.1 %" or "0.0 %". It returns [None] if the whole
// is zero.
func Percent(part, whole uint64) string {
	if whole == 0 {
		return None
	}
	percent := float64(part) / float64(whole) * 100
	switch rounded := math.Round(percent*10) / 10; {
	case part > 0 && rounded < 0.1:
		return "<0.1 %"
	case rounded < 100:
		return strconv.FormatFloat(rounded, 'f', 1, 64) + " %"
	default:
		return strconv.FormatFloat(math.Round(percent), 'f', 0, 64) + " %"
	}
}

// Duration formats how long something took: "57µs", "0.4 ms", "2.1 ms", "14 ms", "3.0 s" or "14 s".
// Durations of a minute or more have the form of [Age].
func Duration(d time.Duration) string {
	if d < 0 {
		return "-" + Duration(-d)
	}
	milliseconds := float64(d) / float64(time.Millisecond)
	seconds := d.Seconds()
	switch {
	case d == 0:
		return "0 ms"
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case d < 100*time.Microsecond:
		return fmt.Sprintf("%.0fµs", float64(d)/float64(time.Microsecond))
	case milliseconds < 9.95:
		return fmt.Sprintf("%.1f ms", milliseconds)
	case milliseconds < 999.5:
		return fmt.Sprintf("%.0f ms", milliseconds)
	case seconds < 9.95:
		return fmt.Sprintf("%.1f s", seconds)
	case seconds < 60:
		return fmt.Sprintf("%.0f s", seconds)
	default:
		return Age(d)
	}
}

// Offset formats a clock offset with its sign: "+1 ms", "-3 ms", "+1.8 s" or "0 ms". Differences
// below half a millisecond are zero, because they cannot be measured over a bus.
func Offset(d time.Duration) string {
	if d.Abs() < time.Millisecond/2 {
		return "0 ms"
	}
	sign := "+"
	if d < 0 {
		sign = "-"
	}
	d = d.Abs()
	if d < 10*time.Millisecond {
		d = d.Round(time.Millisecond)
		return fmt.Sprintf("%s%d ms", sign, d.Milliseconds())
	}
	return sign + Duration(d)
}

// Age formats how long something has existed, in its two largest units: "12s", "4m10s", "3h07m",
// "2d04h". A negative age, which differing clocks can cause, is "0s".
func Age(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		d = d.Truncate(time.Second)
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
	}
}

// Bytes formats a size in binary units: "512 B", "4.0 KiB", "12 MiB".
func Bytes(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	size, units := float64(n), "KMGTPE"
	unit := -1
	for size >= 1023.5 && unit < len(units)-1 {
		size /= 1024
		unit++
	}
	if size < 9.95 {
		return fmt.Sprintf("%.1f %ciB", size, units[unit])
	}
	return fmt.Sprintf("%.0f %ciB", size, units[unit])
}

// Plural formats a number with a noun: "1 server", "50 servers".
func Plural[N ~int | ~uint32 | ~uint64](n N, noun string) string {
	text := Count(n) + " " + noun
	if n == 1 {
		return text
	}
	return text + "s"
}
