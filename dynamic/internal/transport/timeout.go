package transport

import "time"

// MaxTimeout is the maximum timeout of a call or stream message. Longer timeouts are reduced to
// MaxTimeout. The maximum is needed because a request contains the time at which it expires as an
// int64, in nanoseconds since the Unix epoch. An int64 cannot represent times after the year 2262.
const MaxTimeout = 100 * 365 * 24 * time.Hour
