package fanout

import "slices"

// maxBlock is the maximum number of subscribers in a block of a list.
const maxBlock = 128

// list is an immutable list of subscribers. It consists of blocks, so that adding or removing a
// subscriber copies only one block and the list of blocks. If it copied all subscribers, closing
// the thousands of subscriptions of one channel would take seconds.
type list struct {
	// first is the first subscriber, or nil. Most channels have only one subscriber, which is then
	// found without reading the blocks.
	first *Subscriber
	count int
	// blocks contains no empty block.
	blocks [][]*Subscriber
}

// newList returns a list that consists of blocks. count is the number of subscribers in them.
func newList(blocks [][]*Subscriber, count int) list {
	l := list{blocks: blocks, count: count}
	if count > 0 {
		l.first = blocks[0][0]
	}
	return l
}

// with returns a list that also contains subscriber, at the end.
func (l list) with(subscriber *Subscriber) list {
	blocks, last := slices.Clone(l.blocks), len(l.blocks)-1
	if last < 0 || len(blocks[last]) == maxBlock {
		blocks = append(blocks, []*Subscriber{subscriber})
	} else {
		blocks[last] = append(slices.Clip(blocks[last]), subscriber)
	}
	return newList(blocks, l.count+1)
}

// without returns a list that does not contain subscriber.
func (l list) without(subscriber *Subscriber) list {
	for i, block := range l.blocks {
		j := slices.Index(block, subscriber)
		if j < 0 {
			continue
		}
		remaining := slices.Concat(block[:j], block[j+1:])
		first := i
		if i > 0 && len(l.blocks[i-1])+len(remaining) <= maxBlock/2 {
			// Merging small blocks keeps the list of blocks short.
			first, remaining = i-1, slices.Concat(l.blocks[i-1], remaining)
		}
		blocks := slices.Clone(l.blocks[:first])
		if len(remaining) > 0 {
			blocks = append(blocks, remaining)
		}
		return newList(append(blocks, l.blocks[i+1:]...), l.count-1)
	}
	return l
}

// each calls f for the subscribers from index first to the end, until f returns true. It reports
// whether f has returned true.
func (l list) each(first int, f func(subscriber *Subscriber) bool) bool {
	for _, block := range l.blocks {
		if first >= len(block) {
			first -= len(block)
			continue
		}
		if slices.ContainsFunc(block[first:], f) {
			return true
		}
		first = 0
	}
	return false
}
