package main

// growthServers lists the numbers of servers for which there are benchmarks.
var growthServers = []int{1, 3, 10, 30}

// growthSubscribers lists the numbers of subscribers of a queue subscription for which there are
// benchmarks of queue calls on NATS.
var growthSubscribers = []int{1, 20, 50}

// rawQueue holds the names of the benchmarks of raw transports with which queue calls to many
// servers are compared.
var rawQueue = map[string]string{onNATS: "nats-request/c64", onRedis: "redis-pingpong-batched/c64"}

// fleetRows returns benchmarks of concurrent calls of a method that is served by many servers. On a
// broker, they are compared with raw transports that send as many messages to as many servers.
func fleetRows(bus string) []*row {
	const single, multi = 64, 16 // callers
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
// server. The subscribers of a queue subscription are in the same queue group of NATS, which
// delivers requests to them, too.
func (s *scene) callsBesideSubscribers(subscribers, n int) load {
	for range subscribers {
		_, err := s.client(s.conn(), "Tasks").Subscribe(s.Context())
		s.check(err)
	}
	return s.calls(queueCall, 1, n)
}
