package serve

// Stats counts the frames that an engine has dropped since it was created, by reason, and the
// stream messages that wait to be read. Its fields are those of dynamic.ServerStats, so that one
// type can be converted to the other.
type Stats struct {
	BadFrames  uint64
	Expired    uint64
	Duplicated uint64
	Unmatched  uint64
	Overflowed uint64
	Waiting    uint64
	Unsent     uint64
	Evicted    uint64
	Refused    uint64
}
