package fleet

import "time"

// DefaultWait is how long [Fleet.Servers] waits for servers that do not answer, unless [Wait] is
// used.
const DefaultWait = 2 * time.Second

// queryTimes contains the times after which a question to the servers ends.
type queryTimes struct {
	// wait is how long a question waits for servers that do not answer, unless [Wait] is used.
	wait time.Duration
	// quiet and busyQuiet apply to large fleets on a bus that does not count receivers. A question
	// ends when no further server has answered for the time quiet. It waits for the time busyQuiet
	// if far fewer servers have answered than the first shard suggests: the fleet or the broker is
	// then busy.
	quiet, busyQuiet time.Duration
}

// defaultTimes contains the times of each new Fleet. Only tests change them.
var defaultTimes = queryTimes{wait: DefaultWait, quiet: 200 * time.Millisecond, busyQuiet: time.Second}
