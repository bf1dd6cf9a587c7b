package redisbus

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/pipeline"
)

// lockPipelines contains the pipelines through which a session takes locks: one for each server
// that stores locks. The lookup takes no mutex, because a session looks up a pipeline for each
// frame.
type lockPipelines struct {
	// byNode points to a map from each node key to the pipeline for the locks on that node. The map
	// is never modified: a copy is stored when a pipeline is added.
	byNode atomic.Pointer[map[string]*pipeline.Pipeline[lockAttempt]]
	// mu is held while a pipeline is added to byNode.
	mu sync.Mutex
	// wanted holds a value if the session's reconcileLoop should open the connections for locks.
	wanted chan struct{}
	// ready is closed once the connections for locks have been opened.
	ready chan struct{}
}

func (l *lockPipelines) init() {
	l.byNode.Store(&map[string]*pipeline.Pipeline[lockAttempt]{})
	l.wanted, l.ready = make(chan struct{}, 1), make(chan struct{})
}

// get returns the pipeline for the locks on a node, or nil if there is none.
func (l *lockPipelines) get(nodeKey string) *pipeline.Pipeline[lockAttempt] {
	return (*l.byNode.Load())[nodeKey]
}

// add adds the pipeline that create returns and reports that it has done so. If there already is a
// pipeline for the node, add returns that one instead.
func (l *lockPipelines) add(
	nodeKey string, create func() *pipeline.Pipeline[lockAttempt],
) (p *pipeline.Pipeline[lockAttempt], added bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	pipelines := *l.byNode.Load()
	if p := pipelines[nodeKey]; p != nil {
		return p, false
	}
	p = create()
	pipelines = maps.Clone(pipelines)
	pipelines[nodeKey] = p
	l.byNode.Store(&pipelines)
	return p, true
}

// flush sends the lock attempts that have been added to the pipelines.
func (l *lockPipelines) flush() {
	for _, p := range *l.byNode.Load() {
		p.Flush()
	}
}
