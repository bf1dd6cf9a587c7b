package main

// growthServers lists the numbers of servers with which calls are measured.
var growthServers = []int{1, 3, 10, 30}

// growthSubscribers lists the numbers of queue subscribers with which queue calls on NATS are
// measured.
var growthSubscribers = []int{1, 20, 50}

// rawQueue maps each broker to the raw transport benchmark with which calls of queue methods are
// compared.
var rawQueue = map[string]string{onNATS: "nats-request/c64", onRedis: "redis-pingpong-batched/c64"}

// fleetRows returns benchmarks of concurrent calls to a method that many servers serve. On a
// broker, they are compared with raw transports that send the same number of messages to the same
// number of servers.
func fleetRows(bus string) []*row {
	const single, multi = 64, 16 // numbers of concurrent callers
	operations := []struct {
		name, raw   string
		open, rival func(s *scene, servers int) load
	}{
		{
			name: "queue/c64", raw: rawQueue[bus],
			open:  func(s *scene, n int) load { return s.calls(queueCall, n, single) },
			rival: func(s *scene, n int) load { return s.psrpcCalls(queueCall, n, single) },
		},
		{
			name: "affinity-first/c64", raw: bus + "-claims/c64",
			open:  func(s *scene, n int) load { return s.calls(firstCall, n, single) },
			rival: func(s *scene, n int) load { return s.psrpcCalls(firstCall, n, single) },
		},
		{
			name: "affinity-default/c64", raw: bus + "-claims/c64",
			open:  func(s *scene, n int) load { return s.calls(affinityCall, n, single) },
			rival: func(s *scene, n int) load { return s.psrpcCalls(affinityCall, n, single) },
		},
		{
			name: "multi/c16", raw: bus + "-answers/c16",
			open:  func(s *scene, n int) load { return s.multiCalls(n, multi) },
			rival: func(s *scene, n int) load { return s.psrpcMultiCalls(n, multi) },
		},
	}
	var rows []*row
	add := func(r *row) {
		r.bus, r.size = bus, small
		rows = append(rows, r)
	}
	for _, n := range growthServers {
		name := func(operation string) string { return growthName("servers", n) + "/" + operation }
		switch bus {
		case onNATS:
			add(&row{name: name(rawQueue[bus]), system: onBare, open: func(s *scene) load { return s.natsRequests(n, single) }})
		case onRedis:
			add(&row{name: name(rawQueue[bus]), system: onBare, open: func(s *scene) load { return s.redisPingPong(n, single, true) }})
		}
		if bus != onLocal {
			add(&row{name: name(bus + "-claims/c64"), system: onBare, open: func(s *scene) load { return s.rawCalls(n, single, true) }})
			add(&row{name: name(bus + "-answers/c16"), system: onBare, open: func(s *scene) load { return s.rawCalls(n, multi, false) }})
		}
		for _, operation := range operations {
			r := &row{
				name:  name(operation.name),
				open:  func(s *scene) load { return operation.open(s, n) },
				rival: func(s *scene) load { return operation.rival(s, n) },
			}
			if n > 1 {
				r.limits = append(r.limits, growthName("servers", 1)+"/"+operation.name)
			}
			if bus != onLocal {
				r.limits = append(r.limits, name(operation.raw))
			}
			add(r)
		}
	}
	if bus == onNATS {
		for _, n := range growthSubscribers {
			add(&row{
				name:   growthName("subscribers", n) + "/queue/c64",
				open:   func(s *scene) load { return s.callsBesideSubscribers(n, single) },
				limits: []string{growthName("servers", 1) + "/queue/c64"},
			})
		}
	}
	return rows
}

// callsBesideSubscribers returns a [load] in which n concurrent callers make queue calls to one
// server. In addition, the given number of clients subscribe to updates with queue routing. These
// clients join the same NATS queue group as the server, so NATS delivers some of the requests to
// them.
func (s *scene) callsBesideSubscribers(subscribers, n int) load {
	for range subscribers {
		_, err := s.client(s.conn(), "Tasks").Subscribe(s.Context())
		s.check(err)
	}
	return s.calls(queueCall, 1, n)
}
