package bustest

import (
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// Faults describes what a [FaultBus] does to the frames that are published on it. The zero value
// changes nothing. All probabilities are between 0, which means never, and 1, which means always.
type Faults struct {
	// Match selects the frames to which the faults apply. By default, they apply to all frames.
	// Match must not block, and it must not modify the frame or use the FaultBus. docs/wire.md
	// lists the names of the channels.
	Match func(channel bus.Channel, frame []byte) bool
	// Loss is the probability that a frame is lost. Publish returns nil for a lost frame, and its
	// delivery report receives nothing.
	Loss float64
	// Duplicate is the probability that a frame is published twice. On a queue, two different
	// subscribers may receive the frame, unless the bus drops identical frames.
	Duplicate float64
	// Reorder is the probability that a frame is held back until the next frame on its channel has
	// been published. A frame that no other frame follows is published after [MaxReorderDelay].
	Reorder float64
	// Delay is the time by which every frame is delayed. Delay and Jitter do not change the order
	// of the frames on a channel.
	Delay time.Duration
	// Jitter is the maximum random delay that is added to Delay for each frame.
	Jitter time.Duration
	// Cut is the probability that a frame cuts the link, as [FaultBus.Cut] does. The frame is lost,
	// too. Which other frames are lost depends on how fast they follow.
	Cut float64
	// CutDuration is the time for which the link stays cut after a frame has cut it. If it is zero,
	// the link stays cut until [FaultBus.Restore] is called.
	CutDuration time.Duration
	// Logf, if it is not nil, is called with a line of text for each fault. Delays, and frames that
	// are lost because the link is already cut, are not logged. Usually it is the method Logf of a
	// test. It must not use the FaultBus.
	Logf func(format string, args ...any)
}

// MaxReorderDelay is the maximum time for which a frame waits to be overtaken by the next frame on
// its channel; see [Faults].
const MaxReorderDelay = 20 * time.Millisecond

// FaultCounts counts the frames that were published on a [FaultBus] and the faults that affected
// them.
type FaultCounts struct {
	// Published is the number of calls to Publish. Calls that failed because the bus was closed, or
	// because their context had ended, are not counted.
	Published uint64
	// Lost is the number of frames that were lost because of Faults.Loss.
	Lost uint64
	// Duplicated is the number of frames that were published twice.
	Duplicated uint64
	// Reordered is the number of frames that another frame has overtaken.
	Reordered uint64
	// Delayed is the number of frames that were delayed because of Faults.Delay or Faults.Jitter.
	Delayed uint64
	// Cuts is the number of times that the link was cut.
	Cuts uint64
	// CutOff is the number of frames that were lost because the link was cut. A frame that had
	// already been published on the other bus counts once for each subscription that did not
	// receive it.
	CutOff uint64
}

// fate is what happens to one frame.
type fate struct {
	cut, lost, duplicated, reordered bool
	delay                            time.Duration
}

// faultPlan decides the fates of the frames on one channel.
type faultPlan struct {
	random *rand.Rand
	frames uint64 // the number of frames whose fates were decided
}

// newFaultPlan returns the plan for a channel. It depends only on the seed and the channel's name.
func newFaultPlan(seed uint64, channel string) faultPlan {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(channel)) // Write of a hash never fails
	return faultPlan{random: rand.New(rand.NewPCG(seed, hash.Sum64()))}
}

// next decides the fate of the next frame. It always draws the same number of random values. If one
// probability is changed, the other faults therefore still affect the same frames.
func (p *faultPlan) next(f *Faults) fate {
	p.frames++
	happens := func(probability float64) bool { return p.random.Float64() < probability }
	return fate{
		cut: happens(f.Cut), lost: happens(f.Loss), duplicated: happens(f.Duplicate), reordered: happens(f.Reorder),
		delay: f.Delay + time.Duration(p.random.Float64()*float64(f.Jitter)),
	}
}
