package dropcount

import (
	"sync"
	"time"
)

const (
	// maxReasons is the maximum number of reasons that are counted separately.
	maxReasons = 32
	// other stands for all further reasons once maxReasons reasons are counted.
	other = "other"
)

// Counter counts dropped frames by reason. It also limits how often the drops are reported, for
// example as events. The zero value is ready to use. A Counter is safe for concurrent use.
type Counter struct {
	mu      sync.Mutex
	reasons map[string]*reason
}

// reason counts the frames that were dropped for one reason.
type reason struct {
	frames uint64
	// unreported is the number of frames since the last report.
	unreported uint64
	// lastReport is the time of the last report. It is zero if there has been none.
	lastReport time.Time
}

// Add counts frames that were dropped; name is the reason. It returns the number of frames that the
// caller must report now. The number is zero if frames with this reason were last reported less
// than interval ago.
func (c *Counter) Add(name string, frames uint64, interval time.Duration) (unreported uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reasons == nil {
		c.reasons = map[string]*reason{}
	}
	if c.reasons[name] == nil && len(c.reasons) >= maxReasons {
		name = other
	}
	r := c.reasons[name]
	if r == nil {
		r = &reason{}
		c.reasons[name] = r
	}
	r.frames += frames
	r.unreported += frames
	now := time.Now()
	if !r.lastReport.IsZero() && now.Sub(r.lastReport) < interval {
		return 0
	}
	unreported, r.unreported, r.lastReport = r.unreported, 0, now
	return unreported
}

// Frames returns the number of dropped frames, in total and by reason. byReason is nil if no frame
// was dropped. The caller owns the map.
func (c *Counter) Frames() (total uint64, byReason map[string]uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, r := range c.reasons {
		if byReason == nil {
			byReason = map[string]uint64{}
		}
		byReason[name] = r.frames
		total += r.frames
	}
	return total, byReason
}
